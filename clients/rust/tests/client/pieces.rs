//! Pieces that the fake service plays: a whole event log with sound, the same in every run.

use segue_client::proto::segue::{
    analyzer::v1::{Fault, KeyEstimate, Report, TempoEstimate},
    audio::v1::{AudioChunk, AudioFormat, Loudness, Stage},
    composer::v1::{
        Accepted, Composition, CompositionEvent, DraftFinished, DraftRewound, Finished, MasterMade, Output, OutputKind,
        Planned, SectionFinished, SectionProgress, SectionStarted, Started, State, composition_event::Event,
    },
    mixer::v1::{JoinReport, MixFinished, SectionMixed},
    music::v1::{Key, Metre, Mode, Plan, PlannedSection, Role, SectionSpec},
};
use sha2::{Digest, Sha256};

pub const RATE: i64 = 48_000;
const CHUNK_FRAMES: i64 = 8_000;
const FORMAT: AudioFormat = AudioFormat { sample_rate: RATE as u32, channels: 2, sample_format: 1 };
const SECTIONS: [(&str, Role); 4] =
    [("intro", Role::Intro), ("verse", Role::Verse), ("chorus", Role::Chorus), ("outro", Role::Outro)];

/// A composition that has all happened already.
#[derive(Clone)]
pub struct Piece {
    pub name: String,
    pub events: Vec<CompositionEvent>,
    /// The sound that a listener must end up with.
    pub pcm: Vec<u8>,
    pub files: Vec<(Output, Vec<u8>)>,
}

/// Makes a piece of four sections of equal length.
pub fn piece(name: &str, section_seconds: i64) -> Piece {
    Writer::new(name, section_seconds * RATE).write(false)
}

/// The same piece, whose second section was begun, thrown away and made again.
pub fn rewound_piece(name: &str, section_seconds: i64) -> Piece {
    Writer::new(name, section_seconds * RATE).write(true)
}

/// The mastering of an upload: no plan, no sections, no draft.
pub fn mastering(name: &str) -> Piece {
    let mut piece = piece(name, 1);
    piece.files.truncate(1);
    let is_of_it = |event: &Event| {
        matches!(event, Event::Accepted(_) | Event::Started(_) | Event::MasterMade(_) | Event::Finished(_))
    };
    piece.events.retain(|event| event.event.as_ref().is_some_and(is_of_it));
    for (index, event) in piece.events.iter_mut().enumerate() {
        event.sequence = index as i64 + 1;
        if let Some(Event::Finished(Finished { composition: Some(composition) })) = &mut event.event {
            (composition.plan, composition.draft_frames) = (None, 0);
            composition.joins.clear();
            composition.outputs.truncate(1);
        }
    }
    piece.pcm.clear();
    piece
}

/// Sound of one channel at 8 kHz and nothing else, so that an hour is not too much for a test.
pub fn speech(name: &str, seconds: i64) -> Piece {
    let mut writer = Writer::new(name, RATE);
    let accepted = Composition { name: name.into(), state: State::Queued as i32, ..Composition::default() };
    writer.add(Event::Accepted(Accepted { composition: Some(accepted.clone()) }));
    let (rate, chunk_frames) = (8_000, 32_000);
    let data = pcm(0, chunk_frames / 4, 0);
    for first_frame in (0..seconds * rate).step_by(chunk_frames as usize) {
        writer.add(Event::Audio(AudioChunk {
            format: Some(AudioFormat { sample_rate: rate as u32, channels: 1, sample_format: 2 }),
            stage: Stage::Draft as i32,
            first_frame,
            frames: chunk_frames as u32,
            crc32c: crc32c::crc32c(&data),
            data: data.clone(),
            ..AudioChunk::default()
        }));
    }
    let ended = Composition { state: State::Succeeded as i32, draft_frames: seconds * rate, ..accepted };
    writer.add(Event::Finished(Finished { composition: Some(ended) }));
    Piece { name: name.into(), events: writer.events, pcm: Vec::new(), files: Vec::new() }
}

/// A piece that ends otherwise.
pub fn ended(mut piece: Piece, state: State, code: tonic::Code, message: &str) -> Piece {
    if let Some(Event::Finished(Finished { composition: Some(composition) })) =
        piece.events.last_mut().and_then(|event| event.event.as_mut())
    {
        composition.state = state as i32;
        composition.outputs.clear();
        composition.error = Some(segue_client::proto::google::rpc::Status {
            code: code as i32,
            message: message.into(),
            details: Vec::new(),
        });
    }
    piece
}

/// A sample's worth of noise that depends on the place and the take only.
pub fn pcm(first_frame: i64, frames: i64, take: u8) -> Vec<u8> {
    (first_frame * 8..(first_frame + frames) * 8)
        .map(|byte| (byte as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0] ^ take)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

struct Writer {
    name: String,
    section_frames: i64,
    events: Vec<CompositionEvent>,
    sequence: i64,
}

impl Writer {
    fn new(name: &str, section_frames: i64) -> Self {
        Self { name: name.into(), section_frames, events: Vec::new(), sequence: 0 }
    }

    fn add(&mut self, event: Event) {
        if !matches!(event, Event::SectionProgress(_)) {
            self.sequence += 1;
        }
        self.events.push(CompositionEvent {
            composition: self.name.clone(),
            sequence: self.sequence,
            event_time: Some(prost_types::Timestamp { seconds: 1_700_000_000 + self.sequence, nanos: 0 }),
            plan_version: 1,
            event: Some(event),
        });
    }

    fn add_audio(&mut self, section: usize, first_frame: i64, frames: i64, take: u8) {
        let mut at = first_frame;
        while at < first_frame + frames {
            let count = CHUNK_FRAMES.min(first_frame + frames - at);
            let data = pcm(at, count, take);
            self.add(Event::Audio(AudioChunk {
                format: Some(FORMAT),
                stage: Stage::Draft as i32,
                section_id: SECTIONS[section].0.into(),
                take: format!("take-{section}-{take}"),
                attempt: u32::from(take) + 1,
                first_frame: at,
                frames: count as u32,
                crc32c: crc32c::crc32c(&data),
                data,
                ..AudioChunk::default()
            }));
            at += count;
        }
    }

    fn write(mut self, is_rewound: bool) -> Piece {
        let composition =
            Composition { name: self.name.clone(), state: State::Queued as i32, ..Composition::default() };
        self.add(Event::Accepted(Accepted { composition: Some(composition.clone()) }));
        self.add(Event::Started(Started { claims: 1 }));
        self.add(Event::Planned(Planned { plan: Some(self.plan()), estimate: None }));
        let mut heard = Vec::new();
        for (index, (id, _)) in SECTIONS.into_iter().enumerate() {
            let (first_frame, frames) = (index as i64 * self.section_frames, self.section_frames);
            let started =
                SectionStarted { section_id: id.into(), attempt: 1, model: "sketch".into(), take: String::new() };
            self.add(Event::SectionStarted(started));
            let take = u8::from(is_rewound && index == 1);
            if take > 0 {
                self.add_audio(index, first_frame, frames / 2, 0);
                self.add(Event::DraftRewound(DraftRewound {
                    first_frame,
                    section_id: id.into(),
                    attempt: 2,
                    stage: Stage::Draft as i32,
                }));
            }
            self.add_audio(index, first_frame, frames, take);
            heard.extend(pcm(first_frame, frames, take));
            let progress = SectionProgress {
                section_id: id.into(),
                fraction_done: 0.5,
                real_time_factor: 40.0,
                queue_position: 0,
            };
            self.add(Event::SectionProgress(progress));
            self.add(Event::SectionFinished(SectionFinished {
                section_id: id.into(),
                attempt: 1,
                frames,
                ..SectionFinished::default()
            }));
            let join = (index > 0).then(|| self.join(index));
            self.add(Event::SectionMixed(SectionMixed { section_id: id.into(), join, ..SectionMixed::default() }));
        }
        self.finish(composition, heard)
    }

    fn finish(mut self, accepted: Composition, heard: Vec<u8>) -> Piece {
        let frames = self.section_frames * SECTIONS.len() as i64;
        self.add(Event::DraftFinished(DraftFinished { mixed: Some(MixFinished { frames, ..MixFinished::default() }) }));
        self.add(Event::MasterMade(MasterMade::default()));
        let files: Vec<(Output, Vec<u8>)> =
            [("master.flac", OutputKind::Master, ""), ("stem-bass.flac", OutputKind::Stem, "bass")]
                .into_iter()
                .map(|(file, kind, layer)| {
                    let bytes = pcm(kind as i64, 40_000, 3);
                    let output = Output {
                        name: format!("{}/outputs/{file}", self.name),
                        kind: kind as i32,
                        media_type: "audio/flac".into(),
                        size_bytes: bytes.len() as i64,
                        sha256: hex(&Sha256::digest(&bytes)),
                        frames,
                        sample_rate: RATE as u32,
                        channels: 2,
                        bit_depth: 24,
                        layer: layer.into(),
                    };
                    (output, bytes)
                })
                .collect();
        for (output, _) in &files {
            self.add(Event::OutputReady(output.clone()));
        }
        let joins = (1..SECTIONS.len()).map(|index| self.join(index)).collect();
        let composition = Composition {
            state: State::Succeeded as i32,
            title: "Rain\u{1b}[31m on \u{202e}glass".into(),
            plan: Some(self.plan()),
            outputs: files.iter().map(|(output, _)| output.clone()).collect(),
            draft_frames: frames,
            joins,
            report: Some(report(frames)),
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..accepted
        };
        self.add(Event::Finished(Finished { composition: Some(composition) }));
        Piece { name: self.name, events: self.events, pcm: heard, files }
    }

    fn join(&self, index: usize) -> JoinReport {
        JoinReport {
            from_section_id: SECTIONS[index - 1].0.into(),
            to_section_id: SECTIONS[index].0.into(),
            frame: index as i64 * self.section_frames,
            score: 0.97,
            ..JoinReport::default()
        }
    }

    fn plan(&self) -> Plan {
        let sections = SECTIONS.into_iter().enumerate().map(|(index, (id, role))| PlannedSection {
            spec: Some(SectionSpec {
                section_id: id.into(),
                role: role as i32,
                bars: 8,
                frames: self.section_frames,
                energy: (0..8).map(|bar| f64::from(bar) / 8.0).collect(),
                ..SectionSpec::default()
            }),
            first_frame: index as i64 * self.section_frames,
            first_bar: 8 * index as u32,
            ..PlannedSection::default()
        });
        Plan {
            version: 1,
            title: "Rain\u{1b}[31m on \u{202e}glass".into(),
            sample_rate: RATE as u32,
            frames: self.section_frames * SECTIONS.len() as i64,
            quarters_per_minute: 82.0,
            metre: Some(Metre { beats: 4, unit: 4 }),
            key: Some(Key { tonic: "F".into(), mode: Mode::Minor as i32 }),
            genre: "lo-fi".into(),
            sections: sections.collect(),
            ..Plan::default()
        }
    }
}

pub fn report(frames: i64) -> Report {
    Report {
        frames,
        format: Some(FORMAT),
        loudness: Some(Loudness {
            integrated_lufs: Some(-14.0),
            true_peak_dbtp: Some(-1.0),
            range_lu: Some(5.2),
            ..Loudness::default()
        }),
        tempo: Some(TempoEstimate { quarters_per_minute: 82.0, ..TempoEstimate::default() }),
        key: Some(KeyEstimate {
            key: Some(Key { tonic: "F".into(), mode: Mode::Minor as i32 }),
            camelot: "4A".into(),
            ..KeyEstimate::default()
        }),
        stereo_correlation: Some(0.8),
        faults: (0..7_i64)
            .map(|index| Fault {
                first_frame: index * RATE,
                frames: 1,
                text: ["a click\u{1b}[2J", "an offset"][usize::from(index == 3)].into(),
                ..Fault::default()
            })
            .collect(),
        peaks: (0..200_u8).flat_map(|each| [(each / 2).wrapping_neg(), each / 2]).collect(),
        ..Report::default()
    }
}
