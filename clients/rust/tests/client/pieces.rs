//! Pieces that the fake service plays: complete event logs with audio, equal in every run.

use segue_client::proto::segue::{
    analyzer::v1::{ChordSpan, Fault, KeyEstimate, KeySpan, Report, SpectralBand, StructurePart, TempoEstimate, Track},
    audio::v1::{AudioChunk, AudioFormat, Loudness, Stage},
    composer::v1::{
        Accepted, Composition, CompositionEvent, Finished, Output, Section, State, composition_event::Event,
    },
    mixer::v1::{MasterMeasurement, MasterPreset, MasterSettings},
    music::v1::{ChordQuality, Key, Mode},
};
use writer::Writer;

mod writer;

pub const RATE: i64 = 48_000;
const FORMAT: AudioFormat = AudioFormat { sample_rate: RATE as u32, channels: 2, sample_format: 1 };

/// A finished composition.
#[derive(Clone)]
pub struct Piece {
    pub name: String,
    pub events: Vec<CompositionEvent>,
    /// The audio that a client must have at the end.
    pub pcm: Vec<u8>,
    pub files: Vec<(Output, Vec<u8>)>,
}

/// Makes a piece of four sections of equal length.
pub fn piece(name: &str, section_seconds: i64) -> Piece {
    Writer::new(name, section_seconds * RATE).write(false)
}

/// The same piece, with a rewind in its second section.
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
            composition.title.clear();
            composition.outputs.truncate(1);
        }
    }
    piece.pcm.clear();
    piece
}

/// Audio of one channel at 8 kHz, small enough for a test with one hour.
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

/// A piece that ends in another state.
pub fn ended(mut piece: Piece, state: State, code: tonic::Code, message: &str) -> Piece {
    let composition = last(&mut piece);
    composition.state = state as i32;
    composition.outputs.clear();
    composition.error = Some(segue_client::proto::google::rpc::Status {
        code: code as i32,
        message: message.into(),
        details: Vec::new(),
    });
    piece
}

/// A piece that can be edited: it has takes and master settings.
pub fn editable(mut piece: Piece) -> Piece {
    let composition = last(&mut piece);
    let settings = MasterSettings { preset: MasterPreset::Club as i32, ..MasterSettings::default() };
    composition.master = Some(MasterMeasurement { settings: Some(settings), ..MasterMeasurement::default() });
    let plan = composition.plan.clone().unwrap_or_default();
    let ids = plan.sections.into_iter().map(|planned| planned.spec.unwrap_or_default().section_id);
    composition.sections =
        ids.map(|id| Section { take: format!("take of {id}"), section_id: id, ..Section::default() }).collect();
    piece
}

/// The composition in the last event.
pub fn last(piece: &mut Piece) -> &mut Composition {
    match piece.events.last_mut().and_then(|event| event.event.as_mut()) {
        Some(Event::Finished(Finished { composition: Some(composition) })) => composition,
        _ => panic!("the piece has no end"),
    }
}

/// Noise that depends only on the position and the take.
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
        tempo: Some(TempoEstimate {
            quarters_per_minute: 82.0,
            beats: (0..14).map(|beat| beat * RATE * 60 / 82).collect(),
            beats_per_bar: 4,
            swing: Some(0.58),
            ..TempoEstimate::default()
        }),
        drum_beats: (4..14).map(|beat| beat * RATE * 60 / 82).collect(),
        crest_db: Some(13.2),
        onsets_per_second: 4.25,
        spectral_balance: [(707.1, 1414.2, -1.2), (1414.2, 2828.4, -6.1)]
            .map(|(low_hz, high_hz, level_db)| SpectralBand { low_hz, high_hz, level_db })
            .to_vec(),
        energy_curve: (0..10).map(|second| f64::from(second) / 9.0).collect(),
        structure: [(0, "A"), (3, "B"), (8, "A")]
            .map(|(second, label)| StructurePart {
                first_frame: second * RATE,
                label: label.into(),
                ..StructurePart::default()
            })
            .to_vec(),
        chords: [("F", ChordQuality::Minor, 6), ("Db", ChordQuality::Major, 2), ("F", ChordQuality::Minor, 2)]
            .map(|(root, quality, seconds)| ChordSpan {
                root: root.into(),
                quality: quality as i32,
                frames: seconds * RATE,
                ..ChordSpan::default()
            })
            .to_vec(),
        key_changes: vec![span(0, "F", Mode::Minor), span(6, "Ab", Mode::Major)],
        key: Some(KeyEstimate {
            key: Some(Key { tonic: "F".into(), mode: Mode::Minor as i32 }),
            camelot: "4A".into(),
            ..KeyEstimate::default()
        }),
        bass_loudness_lufs: Some(-21.5),
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

/// Three tracks of ten seconds: with a crossfade, with silence before it, and one that failed.
pub fn tracks() -> Vec<Track> {
    let first = Track {
        number: 1,
        frames: RATE * 4,
        fade_out_frames: RATE * 2,
        tempo: Some(TempoEstimate { quarters_per_minute: 123.45, ..TempoEstimate::default() }),
        key: Some(KeyEstimate {
            key: Some(Key { tonic: "F".into(), mode: Mode::Minor as i32 }),
            camelot: "4A".into(),
            ..KeyEstimate::default()
        }),
        loudness: Some(Loudness { integrated_lufs: Some(-14.0), ..Loudness::default() }),
        bass_loudness_lufs: Some(-21.5),
        ..Track::default()
    };
    let second = Track {
        number: 2,
        first_frame: RATE * 4,
        frames: RATE * 3,
        fade_in_frames: RATE * 2,
        fade_out_frames: 0,
        ..first.clone()
    };
    let third = Track {
        number: 3,
        first_frame: RATE * 15 / 2,
        frames: RATE * 5 / 2,
        error: "this track could not be measured".into(),
        ..Track::default()
    };
    vec![first, second, third]
}

fn span(second: i64, tonic: &str, mode: Mode) -> KeySpan {
    let key = Key { tonic: tonic.into(), mode: mode as i32 };
    KeySpan {
        first_frame: second * RATE,
        key: Some(KeyEstimate { key: Some(key), ..KeyEstimate::default() }),
        ..KeySpan::default()
    }
}
