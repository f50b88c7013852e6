//! Plays a piece on a stream of the fake, with or without a fault.

use std::{pin::Pin, sync::Arc, time::Duration};

use segue_client::proto::segue::composer::v1::*;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Code, Status};

use super::{StreamFault, refusal, service::Service};

pub(super) type Flow<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(super) fn play<T: Send + 'static>(
        &self,
        name: &str,
        cursor: &str,
        audio: i32,
        wrap: fn(String, CompositionEvent) -> T,
    ) -> Result<Flow<T>, Status> {
        let piece = self.piece(name)?;
        let fault = {
            let mut state = self.0.lock().unwrap();
            if let Some(away) = state.away.clone().filter(|_| !state.cursors.is_empty()) {
                return Err(away);
            }
            state.cursors.push(cursor.to_owned());
            state.always.clone().or_else(|| state.faults.pop_front())
        };
        if let Some(StreamFault::Refuse(status)) = fault {
            return Err(status);
        }
        let start = match cursor {
            "" => 0,
            _ => cursor
                .strip_prefix('c')
                .and_then(|number| number.parse().ok())
                .filter(|start| *start <= piece.events.len())
                .ok_or_else(|| refusal(Code::InvalidArgument, "INVALID_CURSOR", "cursor: it cannot be read", &[]))?,
        };
        let (sender, receiver) = mpsc::channel(4);
        let inside = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut sent = 0;
            for (index, event) in piece.events.iter().enumerate().skip(start) {
                if audio == AudioSelection::None as i32
                    && matches!(event.event, Some(composition_event::Event::Audio(_)))
                {
                    continue;
                }
                let mut event = event.clone();
                match &fault {
                    Some(StreamFault::Break(after, status)) if sent == *after => {
                        let _ = sender.send(Err(status.clone())).await;
                        return;
                    }
                    Some(StreamFault::EndEarly(after)) if sent == *after => return,
                    Some(StreamFault::Hold(says, may_be_sent)) => {
                        while !may_be_sent(sent, &inside.lock().unwrap()) {
                            if let Some(state) = says {
                                let checkpoint = Checkpoint { state: *state as i32, ..Default::default() };
                                let event = Some(composition_event::Event::Checkpoint(checkpoint));
                                let heartbeat = CompositionEvent { event, ..piece.events[index].clone() };
                                if sender.send(Ok(wrap(format!("c{index}"), heartbeat))).await.is_err() {
                                    return;
                                }
                            }
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    Some(StreamFault::Corrupt(at, corrupt)) if index == *at => corrupt(&mut event),
                    Some(StreamFault::Huge(at)) if index == *at => event.composition = "x".repeat(5 << 20),
                    Some(StreamFault::Slow(wait)) => tokio::time::sleep(*wait).await,
                    _ => {}
                }
                if sender.send(Ok(wrap(format!("c{}", index + 1), event))).await.is_err() {
                    return;
                }
                sent += 1;
            }
        });
        Ok(Box::pin(ReceiverStream::new(receiver)))
    }
}
