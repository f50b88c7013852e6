//! Writes the events of a piece like the service.

use segue_client::proto::segue::{
    audio::v1::{AudioChunk, Stage},
    composer::v1::{
        Accepted, Composition, CompositionEvent, DraftFinished, DraftRewound, Finished, MasterMade, Output, OutputKind,
        Planned, SectionFinished, SectionProgress, SectionStarted, Started, State, composition_event::Event,
    },
    mixer::v1::{JoinReport, MixFinished, SectionMixed},
    music::v1::{Key, Metre, Mode, Plan, PlannedSection, Role, SectionSpec},
};
use sha2::{Digest, Sha256};

use super::{FORMAT, Piece, RATE, hex, pcm, report};

const CHUNK_FRAMES: i64 = 8_000;
const SECTIONS: [(&str, Role); 4] =
    [("intro", Role::Intro), ("verse", Role::Verse), ("chorus", Role::Chorus), ("outro", Role::Outro)];

pub struct Writer {
    name: String,
    section_frames: i64,
    pub events: Vec<CompositionEvent>,
    sequence: i64,
}

impl Writer {
    pub fn new(name: &str, section_frames: i64) -> Self {
        Self { name: name.into(), section_frames, events: Vec::new(), sequence: 0 }
    }

    pub fn add(&mut self, event: Event) {
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

    pub fn write(mut self, is_rewound: bool) -> Piece {
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
                queue_wait: None,
                ready_in: Some(prost_types::Duration { seconds: 62, nanos: 0 }),
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
