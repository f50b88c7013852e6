//! The methods of the fake service.

use std::sync::{Arc, Mutex};

use segue_client::proto::segue::{
    analyzer::v1::{Report, Separator},
    composer::v1::*,
    planner::v1::Estimate,
    renderer::v1::ModelProfile,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::{FakeState, generated::composer_service_server::ComposerService, playing::Flow, refusal};
use crate::pieces::{Piece, report, tracks};

pub(super) struct Service(pub(super) Arc<Mutex<FakeState>>);

type Reply<T> = Result<Response<T>, Status>;

#[allow(clippy::unnecessary_wraps)] // The handlers' own type.
fn reply<T>(message: T) -> Reply<T> {
    Ok(Response::new(message))
}

impl Service {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = &self.0.lock().unwrap().token;
        let sent = request.metadata().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        if token.is_empty() || sent == format!("Bearer {token}") {
            return Ok(());
        }
        Err(refusal(Code::Unauthenticated, "UNAUTHENTICATED", "a token is needed", &[]))
    }

    pub(super) fn piece(&self, name: &str) -> Result<Piece, Status> {
        self.0.lock().unwrap().pieces.get(name).cloned().ok_or_else(|| {
            refusal(Code::NotFound, "COMPOSITION_NOT_FOUND", &format!("there is no {name}, or it is not yours"), &[])
        })
    }

    async fn think(&self) {
        let pause = self.0.lock().unwrap().slow_answers;
        tokio::time::sleep(pause).await;
    }

    fn composition(&self, name: &str) -> Result<Composition, Status> {
        match self.piece(name)?.events.last().and_then(|event| event.event.clone()) {
            Some(composition_event::Event::Finished(finished)) => Ok(finished.composition.unwrap_or_default()),
            _ => Err(Status::internal("the piece has no end")),
        }
    }
}

#[tonic::async_trait]
impl ComposerService for Service {
    type ComposeStream = Flow<ComposeResponse>;
    type WatchCompositionStream = Flow<WatchCompositionResponse>;
    type DownloadArtifactStream = Flow<DownloadArtifactResponse>;
    type WatchAnalysisStream = Flow<WatchAnalysisResponse>;
    type WatchSeparationStream = Flow<WatchSeparationResponse>;

    async fn compose(&self, request: Request<ComposeRequest>) -> Reply<Self::ComposeStream> {
        self.check(&request)?;
        let request = request.into_inner();
        let name = {
            let mut state = self.0.lock().unwrap();
            if let Some(status) = &state.refuse_compose {
                return Err(status.clone());
            }
            assert!(!request.request_id.is_empty(), "a composition without request_id could be made twice");
            state.specs.push(request.spec.unwrap_or_default());
            state.pieces.keys().next().cloned().unwrap_or_default()
        };
        self.think().await;
        let stream =
            self.play(&name, "", request.audio, |cursor, event| ComposeResponse { cursor, event: Some(event) })?;
        reply(stream)
    }

    async fn watch_composition(
        &self,
        request: Request<WatchCompositionRequest>,
    ) -> Reply<Self::WatchCompositionStream> {
        self.check(&request)?;
        let request = request.into_inner();
        self.think().await;
        reply(self.play(&request.name, &request.cursor, request.audio, |cursor, event| WatchCompositionResponse {
            cursor,
            event: Some(event),
        })?)
    }

    async fn get_composition(&self, request: Request<GetCompositionRequest>) -> Reply<GetCompositionResponse> {
        reply(GetCompositionResponse { composition: Some(self.composition(&request.into_inner().name)?) })
    }

    async fn list_compositions(&self, _: Request<ListCompositionsRequest>) -> Reply<ListCompositionsResponse> {
        let mut names: Vec<String> = self.0.lock().unwrap().pieces.keys().cloned().collect();
        names.sort();
        let compositions = names.iter().map(|name| self.composition(name)).collect::<Result<_, _>>()?;
        reply(ListCompositionsResponse { compositions, next_page_token: String::new() })
    }

    async fn cancel_composition(&self, request: Request<CancelCompositionRequest>) -> Reply<CancelCompositionResponse> {
        let name = request.into_inner().name;
        let composition = self.composition(&name)?;
        let mut state = self.0.lock().unwrap();
        if state.away.take().is_some() {
            return Err(Status::internal("not now"));
        }
        state.cancelled.push(name);
        reply(CancelCompositionResponse { composition: Some(composition) })
    }

    async fn retry_composition(&self, request: Request<RetryCompositionRequest>) -> Reply<RetryCompositionResponse> {
        let request = request.into_inner();
        self.piece(&request.name)?;
        assert!(!request.request_id.is_empty(), "a composition without request_id could be made twice");
        let retried = self.0.lock().unwrap().retried.clone();
        reply(RetryCompositionResponse { composition: Some(self.composition(&retried)?) })
    }

    async fn delete_composition(&self, request: Request<DeleteCompositionRequest>) -> Reply<DeleteCompositionResponse> {
        let name = request.into_inner().name;
        self.piece(&name)?;
        self.0.lock().unwrap().pieces.remove(&name);
        reply(DeleteCompositionResponse {})
    }

    async fn plan_composition(&self, request: Request<PlanCompositionRequest>) -> Reply<PlanCompositionResponse> {
        let mut state = self.0.lock().unwrap();
        state.specs.push(request.into_inner().spec.unwrap_or_default());
        let piece = state.pieces.values().next().cloned();
        let plan = piece.and_then(|piece| {
            piece.events.into_iter().find_map(|event| match event.event {
                Some(composition_event::Event::Planned(planned)) => planned.plan,
                _ => None,
            })
        });
        let estimate = Estimate { render_time: time(20), ready_in: time(42), ..Estimate::default() };
        reply(PlanCompositionResponse { plan, estimate: Some(estimate) })
    }

    async fn create_composition(&self, _: Request<CreateCompositionRequest>) -> Reply<CreateCompositionResponse> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Reply<Self::DownloadArtifactStream> {
        let request = request.into_inner();
        let piece = self.piece(request.name.split("/outputs/").next().unwrap_or_default())?;
        let (output, bytes) =
            piece.files.into_iter().find(|(output, _)| output.name == request.name).ok_or_else(|| {
                refusal(Code::NotFound, "ARTIFACT_NOT_FOUND", &format!("there is no {}", request.name), &[])
            })?;
        let pause = self.0.lock().unwrap().slow_files;
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut offset = request.read_offset as usize;
            let _ = sender
                .send(Ok(DownloadArtifactResponse {
                    output: Some(output),
                    offset: request.read_offset,
                    ..Default::default()
                }))
                .await;
            let mut is_first = true;
            while offset < bytes.len() {
                if !std::mem::take(&mut is_first) {
                    tokio::time::sleep(pause).await;
                }
                let data = bytes[offset..bytes.len().min(offset + 10_000)].to_vec();
                let message = DownloadArtifactResponse {
                    output: None,
                    offset: offset as i64,
                    crc32c: crc32c::crc32c(&data),
                    data,
                };
                offset += message.data.len();
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        reply(Box::pin(ReceiverStream::new(receiver)))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Reply<ListModelsResponse> {
        let model = ModelProfile {
            model: "sketch".into(),
            layers: vec![1, 2],
            gives_notes: true,
            real_time_factor: 38.4,
            ..ModelProfile::default()
        };
        let singer = ModelProfile {
            model: "choir".into(),
            uses_lyrics: true,
            lyric_languages: vec!["de".into(), "en".into()],
            conditioning: Some(prost_types::Duration { seconds: 4, nanos: 0 }),
            following: Some(prost_types::Duration { seconds: 4, nanos: 0 }),
            audio_at_end: true,
            weights_license: "MIT".into(),
            ..ModelProfile::default()
        };
        reply(ListModelsResponse { models: vec![model, singer], ..Default::default() })
    }

    async fn get_stats(&self, request: Request<GetStatsRequest>) -> Reply<GetStatsResponse> {
        self.check(&request)?;
        let known = self.0.lock().unwrap().version.clone();
        let version = if known.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { known };
        reply(GetStatsResponse { version, running: 1, queued: 2, queue_limit: 64, ..Default::default() })
    }

    async fn create_upload(&self, request: Request<CreateUploadRequest>) -> Reply<CreateUploadResponse> {
        let upload = Upload {
            name: "uploads/0123456789".into(),
            size_bytes: request.into_inner().size_bytes,
            ..Default::default()
        };
        self.0.lock().unwrap().uploads.insert(upload.name.clone(), Vec::new());
        reply(CreateUploadResponse { upload: Some(upload) })
    }

    async fn write_upload(&self, request: Request<WriteUploadRequest>) -> Reply<WriteUploadResponse> {
        let request = request.into_inner();
        let pause = self.0.lock().unwrap().slow_files;
        if request.offset > 0 {
            tokio::time::sleep(pause).await;
        }
        let mut state = self.0.lock().unwrap();
        let bytes = state.uploads.get_mut(&request.upload).ok_or_else(|| Status::not_found("no such upload"))?;
        assert_eq!((request.offset, crc32c::crc32c(&request.data)), (bytes.len() as i64, request.crc32c));
        bytes.extend(request.data);
        reply(WriteUploadResponse::default())
    }

    async fn finish_upload(&self, request: Request<FinishUploadRequest>) -> Reply<FinishUploadResponse> {
        let (name, mut state) = (request.into_inner().upload, self.0.lock().unwrap());
        let bytes = state.uploads.get(&name).cloned().ok_or_else(|| Status::not_found("no such upload"))?;
        state.finished_uploads.push(bytes);
        reply(FinishUploadResponse { upload: Some(Upload { name, finished: true, ..Default::default() }) })
    }

    async fn get_artifact_url(&self, _: Request<GetArtifactUrlRequest>) -> Reply<GetArtifactUrlResponse> {
        Err(refusal(Code::Unimplemented, "NOT_IMPLEMENTED", "this store has no URLs", &[]))
    }

    async fn get_usage(&self, request: Request<GetUsageRequest>) -> Reply<GetUsageResponse> {
        let asked = request.into_inner();
        if asked.page_token.is_empty() && asked.owner == "*" {
            let day = DayUsage { day: asked.first_day, owner: "bob".into(), requests: 1, ..Default::default() };
            return reply(GetUsageResponse { days: vec![day], next_page_token: "more".into() });
        }
        let time = |seconds| prost_types::Duration { seconds, nanos: 0 };
        let day = DayUsage {
            day: "2026-11-30".into(),
            owner: "alice".into(),
            audio: Some(time(62)),
            rendered: [("band".to_owned(), time(40)), ("another".to_owned(), time(3600))].into(),
            stored_bytes: 8_100_000,
            sent_bytes: 9_000,
            requests: 12,
        };
        reply(GetUsageResponse { days: vec![day], next_page_token: String::new() })
    }

    async fn list_uploads(&self, _: Request<ListUploadsRequest>) -> Reply<ListUploadsResponse> {
        let state = self.0.lock().unwrap();
        let upload = |(name, bytes): (&String, &Vec<u8>)| Upload {
            name: name.clone(),
            media_type: "audio/wav".into(),
            size_bytes: 3_000_000,
            offset: bytes.len() as i64,
            finished: bytes.len() == 3_000_000,
            expire_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            ..Default::default()
        };
        let mut uploads: Vec<Upload> = state.uploads.iter().map(upload).collect();
        uploads.sort_by(|one, other| one.name.cmp(&other.name));
        reply(ListUploadsResponse { uploads, next_page_token: String::new() })
    }

    async fn delete_upload(&self, request: Request<DeleteUploadRequest>) -> Reply<DeleteUploadResponse> {
        let name = request.into_inner().upload;
        match self.0.lock().unwrap().uploads.remove(&name) {
            Some(_) => reply(DeleteUploadResponse {}),
            None => Err(refusal(Code::NotFound, "ARTIFACT_NOT_FOUND", &format!("there is no {name}"), &[])),
        }
    }

    async fn create_analysis(&self, request: Request<CreateAnalysisRequest>) -> Reply<CreateAnalysisResponse> {
        let CreateAnalysisRequest { source, find_tracks, .. } = request.into_inner();
        self.0.lock().unwrap().finds_tracks = find_tracks;
        if source.starts_with("uploads/") && !self.0.lock().unwrap().uploads.contains_key(&source) {
            return Err(refusal(Code::NotFound, "ARTIFACT_NOT_FOUND", "there is no such upload", &[]));
        }
        let analysis = Analysis {
            name: "analyses/0123456789".into(),
            source,
            state: State::Queued as i32,
            ready_in: time(61),
            ..Default::default()
        };
        reply(CreateAnalysisResponse { analysis: Some(analysis) })
    }

    async fn get_analysis(&self, request: Request<GetAnalysisRequest>) -> Reply<GetAnalysisResponse> {
        let (known, finds_tracks) = {
            let state = self.0.lock().unwrap();
            (state.analysis.clone(), state.finds_tracks)
        };
        let tracks = if finds_tracks { tracks() } else { Vec::new() };
        let analysis = known.unwrap_or_else(|| Analysis {
            name: request.into_inner().name,
            state: State::Succeeded as i32,
            report: Some(Report { tracks, ..report(480_000) }),
            ..Default::default()
        });
        reply(GetAnalysisResponse { analysis: Some(analysis) })
    }

    async fn watch_analysis(&self, _: Request<WatchAnalysisRequest>) -> Reply<Self::WatchAnalysisStream> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn list_analyses(&self, _: Request<ListAnalysesRequest>) -> Reply<ListAnalysesResponse> {
        let analyses = self.0.lock().unwrap().analysis.clone().into_iter().collect();
        reply(ListAnalysesResponse { analyses, next_page_token: String::new() })
    }

    async fn cancel_analysis(&self, request: Request<CancelAnalysisRequest>) -> Reply<CancelAnalysisResponse> {
        let name = request.into_inner().name;
        let mut state = self.0.lock().unwrap();
        state.cancelled.push(name.clone());
        let analysis = Analysis { name, state: State::Cancelled as i32, ..Default::default() };
        reply(CancelAnalysisResponse { analysis: Some(analysis) })
    }

    async fn create_separation(&self, request: Request<CreateSeparationRequest>) -> Reply<CreateSeparationResponse> {
        let request = request.into_inner();
        let separation = Separation {
            name: "separations/0123456789".into(),
            source: request.source.clone(),
            state: State::Queued as i32,
            ready_in: time(63),
            ..Default::default()
        };
        self.0.lock().unwrap().separations.push(request);
        reply(CreateSeparationResponse { separation: Some(separation) })
    }

    /// The stems are the first files of the first piece.
    async fn get_separation(&self, request: Request<GetSeparationRequest>) -> Reply<GetSeparationResponse> {
        let state = self.0.lock().unwrap();
        let outputs = state
            .pieces
            .values()
            .next()
            .map_or(Vec::new(), |piece| piece.files.iter().take(2).map(|(output, _)| output.clone()).collect());
        let separation = Separation {
            name: request.into_inner().name,
            source: "uploads/00000001".into(),
            state: if outputs.is_empty() { State::Failed } else { State::Succeeded } as i32,
            separator: Some(Separator { name: "median-17".into(), ..Default::default() }),
            outputs,
            ..Default::default()
        };
        reply(GetSeparationResponse { separation: Some(separation) })
    }

    async fn watch_separation(&self, _: Request<WatchSeparationRequest>) -> Reply<Self::WatchSeparationStream> {
        Err(Status::unimplemented("not in this fake"))
    }

    async fn list_separations(&self, _: Request<ListSeparationsRequest>) -> Reply<ListSeparationsResponse> {
        let state = self.0.lock().unwrap();
        let separations = state.separations.iter().map(|request| Separation {
            name: "separations/0123456789".into(),
            source: request.source.clone(),
            state: State::Rendering as i32,
            ..Default::default()
        });
        reply(ListSeparationsResponse { separations: separations.collect(), next_page_token: String::new() })
    }

    async fn cancel_separation(&self, request: Request<CancelSeparationRequest>) -> Reply<CancelSeparationResponse> {
        let name = request.into_inner().name;
        let mut state = self.0.lock().unwrap();
        state.cancelled.push(name.clone());
        let separation = Separation { name, state: State::Cancelled as i32, ..Default::default() };
        reply(CancelSeparationResponse { separation: Some(separation) })
    }

    async fn delete_separation(&self, _: Request<DeleteSeparationRequest>) -> Reply<DeleteSeparationResponse> {
        self.0.lock().unwrap().separations.clear();
        reply(DeleteSeparationResponse {})
    }

    async fn create_master(&self, request: Request<CreateMasterRequest>) -> Reply<CreateMasterResponse> {
        let name = {
            let mut state = self.0.lock().unwrap();
            let Some(name) = state.pieces.keys().next().cloned() else {
                let text = "mastering an upload is not done by this release";
                return Err(refusal(Code::Unimplemented, "NOT_IMPLEMENTED", text, &[]));
            };
            state.masters.push(request.into_inner());
            name
        };
        let ready_in = time(62);
        let composition = Composition { name, state: State::Queued as i32, ready_in, ..Composition::default() };
        reply(CreateMasterResponse { composition: Some(composition) })
    }
}

#[allow(clippy::unnecessary_wraps)] // As the fields of messages need it.
fn time(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}
