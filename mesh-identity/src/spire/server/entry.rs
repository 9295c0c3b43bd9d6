use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::convert::{entry_message, seconds};
use super::SpireServer;
use crate::proto::spire::api::server::entry::v1::entry_server::Entry as Service;
use crate::proto::spire::api::server::entry::v1::{
    EntryRevision, GetAuthorizedEntriesRequest, GetAuthorizedEntriesResponse, SyncAuthorizedEntriesRequest,
    SyncAuthorizedEntriesResponse,
};
use crate::registry::Entry;

/// Entries in one message, and revisions. Up to so many, a node gets them whole at once.
const PAGE: usize = 500;

#[tonic::async_trait]
impl Service for SpireServer {
    async fn get_authorized_entries(
        &self,
        request: Request<GetAuthorizedEntriesRequest>,
    ) -> Result<Response<GetAuthorizedEntriesResponse>, Status> {
        let node = self.node(&request).await?;
        let entries = self.entries(&node)?.values().map(|entry| entry_message(entry)).collect();
        Ok(Response::new(GetAuthorizedEntriesResponse { entries }))
    }

    type SyncAuthorizedEntriesStream = ReceiverStream<Result<SyncAuthorizedEntriesResponse, Status>>;

    async fn sync_authorized_entries(
        &self,
        request: Request<Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<Response<Self::SyncAuthorizedEntriesStream>, Status> {
        let node = self.node(&request).await?;
        let entries = self.entries(&node)?;
        let (sender, receiver) = mpsc::channel(1);
        let mut asked = request.into_inner();
        self.inner.tasks.spawn(async move {
            if let Err(status) = sync(&mut asked, &entries, &sender).await {
                // Nobody reads it when the node has gone.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// A few entries whole and at once; of many the revisions, and then those that the node asks for.
async fn sync(
    asked: &mut Streaming<SyncAuthorizedEntriesRequest>,
    entries: &BTreeMap<String, Arc<Entry>>,
    sender: &mpsc::Sender<Result<SyncAuthorizedEntriesResponse, Status>>,
) -> Result<(), Status> {
    let gone = |_| Status::cancelled("the node has gone");
    let first = asked.message().await?.ok_or_else(|| Status::invalid_argument("nothing was asked"))?;
    if !first.ids.is_empty() {
        return Err(Status::invalid_argument("specifying IDs on initial request is not supported"));
    }
    if entries.len() <= PAGE {
        let entries = entries.values().map(|entry| entry_message(entry)).collect();
        let answer = SyncAuthorizedEntriesResponse { entries, ..Default::default() };
        return sender.send(Ok(answer)).await.map_err(gone);
    }
    let all: Vec<_> = entries.values().collect();
    let pages = all.len().div_ceil(PAGE);
    for (index, page) in all.chunks(PAGE).enumerate() {
        let revision = |entry: &&Arc<Entry>| EntryRevision {
            id: entry.id.clone(),
            revision_number: entry.revision,
            created_at: seconds(entry.created),
        };
        let entry_revisions = page.iter().map(revision).collect();
        let answer = SyncAuthorizedEntriesResponse { entry_revisions, more: index + 1 < pages, ..Default::default() };
        sender.send(Ok(answer)).await.map_err(gone)?;
    }
    while let Some(next) = asked.message().await? {
        // In order and once each, however often they were named.
        let wanted: std::collections::BTreeSet<&String> = next.ids.iter().collect();
        let found: Vec<_> = wanted.into_iter().filter_map(|id| entries.get(id)).collect();
        let pages = found.len().div_ceil(PAGE).max(1);
        for index in 0..pages {
            let page = found.iter().skip(index * PAGE).take(PAGE);
            let entries = page.map(|entry| entry_message(entry)).collect();
            let answer = SyncAuthorizedEntriesResponse { entries, more: index + 1 < pages, ..Default::default() };
            sender.send(Ok(answer)).await.map_err(gone)?;
        }
    }
    Ok(())
}
