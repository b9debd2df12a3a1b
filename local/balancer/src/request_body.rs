//! The body of a client's request on its way to a target, one frame at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::meter::Meter;

/// The body of a client's request.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Incoming,
    client: Arc<Meter>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, client: Arc<Meter>) -> Self {
        Self { incoming, client }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        match &frame {
            Poll::Pending => self.client.set_wants_body(true),
            Poll::Ready(Some(Err(_))) => self.client.set_body_failed(),
            Poll::Ready(_) => self.client.set_wants_body(false),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
