//! The bodies of responses to clients: one frame at a time from a target, or made by the balancer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::meter::{Meter, Phase};
use super::table::InFlight;
use super::upstream::Upstream;
use super::worker::Worker;

/// The reason for an incomplete response.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the target broke off its response")]
    Target(#[source] hyper::Error),
    #[error("the target closed the connection in the middle of its response")]
    Closed,
    #[error("no byte of the response was transferred within the idle timeout")]
    Idle,
}

/// The body of a response to a client.
pub(super) enum ResponseBody {
    /// Made by the balancer.
    Own(Option<Bytes>),
    /// From a target.
    Stream(Box<Streaming>),
}

/// A target's response, with the connection that it comes from.
pub(super) struct Streaming {
    incoming: Incoming,
    client: Arc<Meter>,
    worker: Arc<Worker>,
    source: Option<(Upstream, InFlight)>,
    /// The error that broke off the response, while its first part is still being sent.
    broken: Option<BodyError>,
}

impl Streaming {
    pub(super) fn new(
        incoming: Incoming,
        client: Arc<Meter>,
        worker: Arc<Worker>,
        upstream: Upstream,
        in_flight: InFlight,
    ) -> Self {
        let source = Some((upstream, in_flight));
        let mut this = Self {
            incoming,
            client,
            worker,
            source,
            broken: None,
        };
        if this.incoming.is_end_stream() {
            this.finished();
        }
        this
    }

    fn finished(&mut self) {
        if let Some((upstream, in_flight)) = self.source.take() {
            self.worker.pool.put(in_flight.target(), upstream);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.receive(cx) {
            Poll::Ready(Some(Err(error))) => {
                // When a body fails, hyper drops unsent bytes. Returning `Pending` once lets hyper send them.
                self.source = None;
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // `drive` makes the frames ready and wakes the task.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
        if frame.is_pending() {
            let Some((upstream, _)) = &mut self.source else {
                return Poll::Ready(None);
            };
            let error = upstream.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(&mut nobody);
            if frame.is_pending() {
                if upstream.is_done() {
                    return Poll::Ready(Some(Err(
                        error.map_or(BodyError::Closed, BodyError::Target)
                    )));
                }
                return upstream.poll_idle(cx).map(|()| Some(Err(BodyError::Idle)));
            }
        }
        match frame {
            Poll::Ready(Some(Ok(_))) if self.incoming.is_end_stream() => self.finished(),
            Poll::Ready(None) => self.finished(),
            _ => {}
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(BodyError::Target)))
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.client.set_phase(Phase::Request);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}
