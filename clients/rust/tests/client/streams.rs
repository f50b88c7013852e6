//! Streams under faults and corruption: the client delivers the correct piece or an error.

use std::{future::Future, time::Duration};

use segue_client::{
    Error, StreamRequest, Update, Watch, WatchOptions,
    proto::segue::{
        audio::v1::Stage,
        composer::v1::{
            ComposeRequest, CompositionEvent, CompositionSpec, DraftRewound, Finished, State, composition_event::Event,
        },
    },
};
use tonic::{Code, Status};

use crate::{
    command::UNREACHABLE,
    fake::{Fake, FakeState, StreamFault, connection, refusal},
    pieces::{Piece, piece, rewound_piece},
    proxy::Proxy,
};

const NAME: &str = "compositions/00c0ffee";

type Corruption = fn(&mut CompositionEvent);

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// For streams that become silent. On a busy machine a reconnection may also happen without silence, which is harmless.
fn short_heartbeat() -> WatchOptions {
    WatchOptions { heartbeat: Duration::from_millis(200), ..options() }
}

fn options() -> WatchOptions {
    WatchOptions {
        heartbeat: Duration::from_secs(10),
        give_up_after: Duration::from_secs(60),
        stall_limit: Duration::from_secs(600),
        ..WatchOptions::default()
    }
}

fn composing() -> StreamRequest {
    StreamRequest::Compose(Box::new(ComposeRequest {
        spec: Some(CompositionSpec::default()),
        request_id: "6c1b6a0e-7f0a-4d9c-9d3a-111111111111".into(),
        ..ComposeRequest::default()
    }))
}

/// Everything that a client received.
#[derive(Default)]
struct Received {
    pcm: Vec<u8>,
    events: Vec<CompositionEvent>,
    lost: usize,
    rewinds: usize,
    skipped: usize,
}

async fn listen(mut watch: Watch) -> Result<Received, (Error, Received)> {
    let mut received = Received::default();
    loop {
        match watch.next().await {
            Ok(Some(Update::Audio(Stage::Draft, chunk))) => {
                assert_eq!(chunk.first_frame as usize * 8, received.pcm.len(), "a frame was lost or repeated");
                received.pcm.extend(chunk.pcm);
            }
            Ok(Some(Update::Audio(..))) => panic!("audio of another stage"),
            Ok(Some(Update::Rewound(_, first_frame))) => {
                received.pcm.truncate(first_frame as usize * 8);
                received.rewinds += 1;
            }
            Ok(Some(Update::Event(event))) => received.events.push(*event),
            Ok(Some(Update::Disconnected { .. })) => received.lost += 1,
            Ok(Some(Update::Skipped)) => received.skipped += 1,
            Ok(Some(Update::Resumed)) => {}
            Ok(None) => return Ok(received),
            Err(error) => return Err((error, received)),
        }
    }
}

fn receive(fake: &Fake, opening: StreamRequest) -> Result<Received, (Error, Received)> {
    run(listen(Watch::new(fake.connection(), opening, options())))
}

fn assert_whole(received: &Received, piece: &Piece) {
    assert!(received.pcm == piece.pcm, "the audio differs");
    let of_log = |events: &[CompositionEvent]| -> Vec<i64> {
        let is_of_log = |event: &&CompositionEvent| {
            !matches!(
                event.event,
                Some(Event::Audio(_) | Event::DraftRewound(_) | Event::SectionProgress(_) | Event::Checkpoint(_))
            )
        };
        events.iter().filter(is_of_log).map(|event| event.sequence).collect()
    };
    assert_eq!(of_log(&received.events), of_log(&piece.events), "each event of the log must arrive once and in order");
}

#[test]
fn an_undisturbed_stream_delivers_the_piece() {
    let piece = rewound_piece(NAME, 1);
    let received = receive(&Fake::start(vec![piece.clone()]), composing()).ok().unwrap();
    assert_whole(&received, &piece);
    assert_eq!((received.lost, received.rewinds), (0, 1));
}

/// `FAULT_SEEDS=20` tests more faults than a quick run has time for.
pub fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("FAULT_SEEDS").ok().and_then(|number| number.parse().ok()).unwrap_or(1)
}

#[test]
fn fifty_random_faults_change_nothing() {
    for seed in seeds() {
        let piece = rewound_piece(NAME, 4);
        let fake = Fake::start(vec![piece.clone()]);
        let proxy = Proxy::start(fake.address, seed, 50, 400_000);
        let mut tries = 0;
        // One stream may end before all faults have happened.
        while proxy.faults_left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            tries += 1;
            let watch = Watch::new(connection(proxy.address), composing(), short_heartbeat());
            match run(listen(watch)) {
                Ok(received) => assert_whole(&received, &piece),
                Err((error, _)) => panic!("seed {seed}, stream {tries}: {error}"),
            }
        }
    }
}

#[test]
fn after_a_break_at_any_message_the_stream_resumes_at_the_last_cursor() {
    let piece = rewound_piece(NAME, 1);
    let messages = piece.events.len();
    for after in (0..messages).step_by(3) {
        let broken = Status::unavailable("connection reset");
        let fake =
            Fake::start(vec![piece.clone()]).with(|state| state.faults.push_back(StreamFault::Break(after, broken)));
        let received = receive(&fake, composing()).unwrap_or_else(|(error, _)| panic!("after {after}: {error}"));
        assert_whole(&received, &piece);
        let expected = if after == 0 { String::new() } else { format!("c{after}") };
        assert_eq!(fake.state.lock().unwrap().cursors[1], expected);
    }
}

#[test]
fn a_silent_stream_is_opened_again() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]).with(|state| {
        state.faults.extend([StreamFault::Hold(None, |_, _| false), StreamFault::Hold(None, |sent, _| sent < 9)]);
    });
    let received = run(listen(Watch::new(fake.connection(), composing(), short_heartbeat()))).ok().unwrap();
    assert_whole(&received, &piece);
    assert!(received.lost >= 2);
}

/// Drops the future of the next update every few milliseconds, as a redrawn screen does.
async fn listen_with_short_timeouts(mut watch: Watch) -> Received {
    let (mut received, glance) = (Received::default(), Duration::from_millis(5));
    loop {
        let Ok(update) = tokio::time::timeout(glance, watch.next()).await else { continue };
        match update.unwrap_or_else(|error| panic!("{error}")) {
            Some(Update::Audio(_, chunk)) => received.pcm.extend(chunk.pcm),
            Some(Update::Event(event)) => received.events.push(*event),
            Some(Update::Disconnected { .. }) => received.lost += 1,
            Some(_) => {}
            None => return received,
        }
    }
}

#[test]
fn dropped_futures_lose_nothing() {
    let piece = piece(NAME, 1);
    let slow = |state: &mut FakeState| state.slow_answers = Duration::from_millis(300);
    let fake = Fake::start(vec![piece.clone()]).with(slow);
    let received = run(listen_with_short_timeouts(Watch::new(fake.connection(), composing(), options())));
    assert_whole(&received, &piece);
    assert_eq!((received.lost, fake.state.lock().unwrap().specs.len()), (0, 1), "the request was repeated");

    let fake = Fake::start(vec![piece.clone()])
        .with(|state| state.faults.push_back(StreamFault::Hold(None, |sent, _| sent < 9)));
    let received = run(listen_with_short_timeouts(Watch::new(fake.connection(), composing(), short_heartbeat())));
    assert_whole(&received, &piece);
    assert!(received.lost >= 1);
}

#[test]
fn the_stream_recovers_from_corrupted_messages() {
    let piece = piece(NAME, 1);
    let audio = piece.events.iter().position(|event| matches!(event.event, Some(Event::Audio(_)))).unwrap() + 2;
    let corruptions: [(&str, usize, Corruption); 7] = [
        ("damaged samples", audio, |event| {
            if let Some(Event::Audio(chunk)) = &mut event.event {
                chunk.data[5] ^= 1;
            }
        }),
        ("a gap", audio, |event| {
            if let Some(Event::Audio(chunk)) = &mut event.event {
                chunk.first_frame += 1;
            }
        }),
        ("a wrong format", audio, |event| {
            if let Some(Event::Audio(chunk)) = &mut event.event {
                chunk.format.as_mut().unwrap().channels = 1;
            }
        }),
        ("a missing chunk", audio, |event| event.event = None),
        ("an event of another composition", audio, |event| event.composition = "compositions/other".into()),
        ("a rewind below zero", audio, |event| {
            let rewound = segue_client::proto::segue::composer::v1::DraftRewound {
                first_frame: -1,
                stage: 2,
                ..Default::default()
            };
            event.event = Some(Event::DraftRewound(rewound));
        }),
        ("a last event without a final state", audio, |event| event.event = Some(Event::Finished(Finished::default()))),
    ];
    for (name, at, corrupt) in corruptions {
        let fake =
            Fake::start(vec![piece.clone()]).with(|state| state.faults.push_back(StreamFault::Corrupt(at, corrupt)));
        let received = receive(&fake, composing()).unwrap_or_else(|(error, _)| panic!("{name}: {error}"));
        assert_whole(&received, &piece);
    }
    for fault in [StreamFault::Huge(audio), StreamFault::EndEarly(audio)] {
        let fake = Fake::start(vec![piece.clone()]).with(|state| state.faults.push_back(fault));
        assert_whole(&receive(&fake, composing()).ok().unwrap(), &piece);
    }
}

#[test]
fn permanent_corruption_ends_in_an_error_and_correct_audio_so_far() {
    let piece = piece(NAME, 1);
    let audio = piece.events.iter().position(|event| matches!(event.event, Some(Event::Audio(_)))).unwrap() + 2;
    let faults = [
        StreamFault::Corrupt(audio, |event| {
            if let Some(Event::Audio(chunk)) = &mut event.event {
                chunk.crc32c ^= 1;
            }
        }),
        StreamFault::Corrupt(audio, |event| {
            if let Some(Event::Audio(chunk)) = &mut event.event {
                chunk.first_frame = 0;
            }
        }),
        StreamFault::Huge(audio),
        StreamFault::EndEarly(0),
    ];
    let watch = |fault| {
        let fake = Fake::start(vec![piece.clone()]).with(|state| state.always = Some(fault));
        let (error, received) = receive(&fake, composing()).err().expect("the corruption was not noticed");
        assert!(matches!(error, Error::ContractViolation(_)), "{error:?}");
        assert!(piece.pcm.starts_with(&received.pcm));
    };
    // At the same time: each waits for its backoff.
    std::thread::scope(|scope| faults.map(|fault| scope.spawn(|| watch(fault))).map(|thread| thread.join().unwrap()));
}

#[test]
fn heartbeats_without_progress_end_in_a_stall_but_a_queue_does_not() {
    let piece = piece(NAME, 1);
    let working = StreamFault::Hold(Some(State::Rendering), |sent, _| sent < 3);
    let fake = Fake::start(vec![piece.clone()]).with(|state| state.always = Some(working));
    let impatient = WatchOptions { stall_limit: Duration::from_millis(800), ..options() };
    let stalled = run(listen(Watch::new(fake.connection(), composing(), impatient.clone())));
    assert!(matches!(stalled.err().unwrap().0, Error::Stalled(_)));

    let queued = StreamFault::Hold(Some(State::Queued), |sent, _| sent < 1);
    let fake = Fake::start(vec![piece]).with(|state| state.always = Some(queued));
    let limit = impatient.stall_limit * 3;
    let watch = Watch::new(fake.connection(), composing(), impatient);
    let outcome = run(async { tokio::time::timeout(limit, listen(watch)).await });
    assert!(outcome.is_err(), "a queued composition ended in a stall");
}

#[test]
fn after_an_invalid_cursor_the_stream_starts_again() {
    let piece = piece(NAME, 1);
    for reason in ["INVALID_CURSOR", "CURSOR_AHEAD"] {
        let lost = refusal(Code::OutOfRange, reason, "the cursor is not known", &[]);
        let fake = Fake::start(vec![piece.clone()]).with(|state| {
            state.faults.extend([StreamFault::Break(12, Status::unavailable("gone")), StreamFault::Refuse(lost)]);
        });
        let mut received = receive(&fake, composing()).unwrap_or_else(|(error, _)| panic!("{reason}: {error}"));
        // The log may be another one, so its events arrive again.
        let anew = received.events.iter().rposition(|event| matches!(event.event, Some(Event::Accepted(_)))).unwrap();
        assert!(anew > 0 && received.rewinds == 1);
        received.events.drain(..anew);
        assert_whole(&received, &piece);
    }
}

#[test]
fn a_stream_of_a_log_that_lost_its_end_delivers_everything_again() {
    let whole = piece(NAME, 1);
    let mut restarted = whole.clone();
    for stage in [Stage::Master, Stage::Draft] {
        let rewound = DraftRewound { stage: stage as i32, ..DraftRewound::default() };
        let event =
            CompositionEvent { event: Some(Event::DraftRewound(rewound)), sequence: 0, ..whole.events[0].clone() };
        restarted.events.insert(0, event);
    }
    // The log had twelve events; the second stream begins with the announcement, and has other ones.
    restarted.events.splice(0..0, whole.events[..12].iter().cloned());
    let fake = Fake::start(vec![restarted]).with(|state| {
        state.faults.push_back(StreamFault::Break(12, Status::unavailable("the store has lost the end of the log")));
    });
    let mut received = receive(&fake, StreamRequest::Watch { name: NAME.into() }).ok().unwrap();
    let anew = received.events.iter().rposition(|event| matches!(event.event, Some(Event::Accepted(_)))).unwrap();
    assert!(anew > 0 && received.rewinds == 2);
    received.events.drain(..anew);
    assert_whole(&received, &whole);
}

#[test]
fn an_unknown_kind_of_event_is_skipped() {
    let mut piece = piece(NAME, 1);
    let unknown = CompositionEvent { event: None, ..piece.events[4].clone() };
    piece.events.insert(4, unknown);
    let received = receive(&Fake::start(vec![piece.clone()]), StreamRequest::Watch { name: NAME.into() }).ok().unwrap();
    assert!(received.pcm == piece.pcm);
    assert_eq!((received.skipped, received.lost), (1, 0));
}

#[test]
fn a_refusal_is_returned_at_once_with_its_reason() {
    let status = refusal(Code::ResourceExhausted, "QUEUE_FULL", "the queue is full", &[]);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.refuse_compose = Some(status));
    match receive(&fake, composing()).err().unwrap() {
        (Error::Server(failure), received) => assert_eq!((failure.reason.as_str(), received.lost), ("QUEUE_FULL", 0)),
        (other, _) => panic!("{other:?}"),
    }
    let empty = fake.with(|state| state.pieces.clear()).connection();
    let missing = Watch::new(empty, StreamRequest::Watch { name: NAME.into() }, options());
    assert!(matches!(run(listen(missing)), Err((Error::Server(failure), _)) if failure.code == Code::NotFound));
}

#[test]
fn an_unreachable_server_is_reported_at_once() {
    let watch = Watch::new(connection(UNREACHABLE.parse().unwrap()), composing(), options());
    assert!(matches!(run(listen(watch)), Err((Error::Unreachable { .. }, received)) if received.lost == 0));
}
