//! The async shell around the machine: opens streams, feeds them, waits.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use mesh_core::report::chain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, PollSender};
use tonic::Status;

use super::fallback::{Action, Ladder};
use super::handler::{Event, Handler, Wish};
use super::machine::{Expired, Machine, Request, Response, Variant};
use super::transport::{Connect, Responses, Transport, open};

/// Runs a client until it is cancelled: streams to the servers of the machine, as the ladder says, one connect each; servers
/// without one are not asked. On a broken stream the state stays in use.
///
/// # Cancel safety
/// Dropping the future ends the streams; what was applied stays applied.
pub async fn run<C: Connect>(
    connects: Vec<C>,
    mut machine: Machine,
    mut ladder: Ladder,
    handler: &mut impl Handler,
    cancel: CancellationToken,
) {
    let mut lanes: Vec<Lane<C>> = connects.into_iter().map(Lane::new).take(machine.servers().len()).collect();
    ladder.truncate(lanes.len());
    loop {
        for wish in handler.wishes() {
            match wish {
                Wish::Want(type_url, interest) => machine.want(type_url, interest),
                Wish::Subscribe(type_url, names) => machine.subscribe(type_url, names),
                Wish::Unsubscribe(type_url, names) => machine.unsubscribe(type_url, &names),
                Wish::Hold { type_url, name, version, server, left } => {
                    machine.restore(type_url, &name, &version, server, left.map(|left| now() + left));
                }
            }
        }
        while let Some(action) = ladder.poll(machine.is_complete()) {
            act(action, &mut lanes, &mut machine);
        }
        let deadline = machine.next_deadline();
        let (server, happening) = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = handler.news() => continue,
            happening = next(&mut lanes, &mut machine) => happening,
            () = until(deadline) => {
                expire(&mut machine, handler);
                continue;
            }
        };
        match happening {
            Happening::Due => {
                if ladder.handle_due(server) {
                    act(Action::Open(server), &mut lanes, &mut machine);
                }
            }
            Happening::Response(response) => {
                let actions = ladder.handle_answered(server);
                let begins_anew = actions.contains(&Action::Close(server));
                for action in actions {
                    act(action, &mut lanes, &mut machine);
                }
                if begins_anew {
                    continue;
                }
                lanes[server].answered = true;
                let name = |type_url: &str, body: &[u8]| handler.name(type_url, body);
                let Some(update) = machine.handle_response(server, response, name) else { continue };
                let rejected = handler.apply(&update);
                let reason = machine.handle_applied(&update, &rejected, now());
                if let Some(error) = &reason {
                    tracing::warn!(type_url = %update.type_url, %error, "discovery answer rejected in part");
                }
                handler.observe(&machine, Event::Answered { server, rejected: reason.as_deref() });
            }
            Happening::Ended(error) => {
                let name = machine.servers().get(server).map(|server| server.name.as_str()).unwrap_or_default();
                tracing::warn!(server = name, %error, "discovery stream ended");
                machine.handle_closed(server);
                let pause = ladder.handle_ended(server, lanes[server].answered, fastrand::f64());
                act(pause, &mut lanes, &mut machine);
                let (connected, cut_off) = (ladder.active().is_some(), ladder.is_cut_off());
                handler.observe(&machine, Event::Ended { server, error: &error, connected, cut_off });
            }
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn expire(machine: &mut Machine, handler: &mut impl Handler) {
    for expired in machine.handle_timeout(now()) {
        match expired {
            Expired::Removed(update) => {
                let rejected = handler.apply(&update);
                let _ = machine.handle_applied(&update, &rejected, now());
            }
            Expired::Missing { type_url, names, transient } => handler.missing(&type_url, &names, transient),
        }
    }
}

fn act<C: Connect>(action: Action, lanes: &mut [Lane<C>], machine: &mut Machine) {
    match action {
        Action::Open(server) => {
            machine.handle_opened(server);
            let variant = machine.servers()[server].variant;
            lanes[server].open(variant);
        }
        Action::Pause(server, pause) => lanes[server].state = State::Pausing(Box::pin(tokio::time::sleep(pause))),
        Action::Close(server) => {
            machine.handle_closed(server);
            lanes[server].state = State::Closed;
        }
    }
}

/// The way to one server.
struct Lane<C> {
    connect: C,
    state: State,
    /// Whether the stream brought anything.
    answered: bool,
}

enum State {
    Closed,
    Pausing(Pin<Box<Sleep>>),
    Opening(BoxFuture<'static, Result<Responses, Status>>, Outgoing),
    Open(Responses, Outgoing),
    Failed(String),
}

/// Our requests on their way to a server. One is under way at most: what is wanted later is joined while it is.
struct Outgoing {
    sender: PollSender<Request>,
    /// Told when the transport asks for the first request: until then there is no connection, and no time is running.
    connected: Option<oneshot::Receiver<()>>,
    next: Option<Request>,
}

enum Happening {
    /// A pause is over.
    Due,
    Response(Response),
    Ended(String),
}

/// The next thing that happens on any lane.
async fn next<C: Connect>(lanes: &mut [Lane<C>], machine: &mut Machine) -> (usize, Happening) {
    std::future::poll_fn(|context| {
        for (server, lane) in lanes.iter_mut().enumerate() {
            if let Poll::Ready(happening) = lane.poll(server, machine, context) {
                return Poll::Ready((server, happening));
            }
        }
        Poll::Pending
    })
    .await
}

impl<C: Connect> Lane<C> {
    fn new(connect: C) -> Self {
        Self { connect, state: State::Closed, answered: false }
    }

    fn open(&mut self, variant: Variant) {
        self.answered = false;
        let (service, metadata) = match self.connect.connect() {
            Ok(connected) => connected,
            Err(error) => {
                self.state = State::Failed(chain(&*error));
                return;
            }
        };
        let (sender, queue) = mpsc::channel(1);
        let (asked, connected) = oneshot::channel();
        let mut asked = Some(asked);
        let mut queue = ReceiverStream::new(queue);
        let requests = futures_util::stream::poll_fn(move |context| {
            if let Some(asked) = asked.take() {
                // Nobody listens when the client was dropped meanwhile.
                let _ = asked.send(());
            }
            queue.poll_next_unpin(context)
        });
        let outgoing = Outgoing { sender: PollSender::new(sender), connected: Some(connected), next: None };
        self.state = State::Opening(open(service.boxed(), variant, metadata, requests), outgoing);
    }

    fn poll(&mut self, server: usize, machine: &mut Machine, context: &mut Context<'_>) -> Poll<Happening> {
        if let State::Opening(opening, outgoing) = &mut self.state {
            let _ = outgoing.flush(server, machine, context);
            match opening.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(status)) => return Poll::Ready(Happening::Ended(text(&status))),
                Poll::Ready(Ok(responses)) => {
                    if let State::Opening(_, outgoing) = std::mem::replace(&mut self.state, State::Closed) {
                        self.state = State::Open(responses, outgoing);
                    }
                }
            }
        }
        match &mut self.state {
            State::Closed | State::Opening(..) => Poll::Pending,
            State::Pausing(sleep) => sleep.as_mut().poll(context).map(|()| Happening::Due),
            State::Failed(error) => Poll::Ready(Happening::Ended(std::mem::take(error))),
            State::Open(responses, outgoing) => {
                // A server that does not take our answers is not listened to either, so that none of them pile up.
                if outgoing.flush(server, machine, context).is_pending() {
                    return Poll::Pending;
                }
                responses.poll_next_unpin(context).map(|response| match response {
                    Some(Ok(response)) => Happening::Response(response),
                    Some(Err(status)) => Happening::Ended(text(&status)),
                    None => Happening::Ended("the server ended the stream".to_owned()),
                })
            }
        }
    }
}

impl Outgoing {
    /// Hands over all requests that are due; pending while the one before is not taken.
    fn flush(&mut self, server: usize, machine: &mut Machine, context: &mut Context<'_>) -> Poll<()> {
        if let Some(connected) = &mut self.connected {
            match connected.poll_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => self.connected = None,
            }
        }
        loop {
            if self.next.is_none() {
                self.next = machine.poll_request(server, now());
            }
            if self.next.is_none() {
                return Poll::Ready(());
            }
            match self.sender.poll_reserve(context) {
                Poll::Pending => return Poll::Pending,
                // The end of the stream is seen where responses are read.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    if let Some(request) = self.next.take() {
                        let _ = self.sender.send_item(request);
                    }
                }
            }
        }
    }
}

/// A status with what caused it.
fn text(status: &Status) -> String {
    let head = format!("{}: {}", status.code(), status.message());
    match std::error::Error::source(status) {
        Some(source) => format!("{head}: {}", chain(source)),
        None => head,
    }
}
