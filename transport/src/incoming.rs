//! A listener as a stream of connections, for tonic's `serve_with_incoming`. Encrypted ones come out when their handshake is done. Handshakes go on beside
//! each other, each for a limited time; when there are too many, the oldest, which is the slowest, goes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::server::Connected as _;

use crate::plain_text::{self, Spoken};
use crate::{Connection, ServerTls, explain};

/// How long a client may take to say who it is.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes that may go on at the same time.
const HANDSHAKES_MAX: usize = 1024;
/// Connections that may wait for the server to take them.
const WAITING_MAX: usize = 64;
/// How long to wait when the system has no more files to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long a refused client may take to read why.
const LET_READ_FOR: Duration = Duration::from_secs(1);
/// At most one refused client in so long is worth a warning.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// See the module documentation. Accepts until it is dropped.
pub struct Incoming {
    connections: mpsc::Receiver<io::Result<Connection>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Incoming {
    /// Connections in plain text.
    pub fn plain(listener: TcpListener) -> Self {
        Self::start(listener, None)
    }

    /// Encrypted connections.
    pub fn encrypted(listener: TcpListener, tls: ServerTls) -> Self {
        Self::start(listener, Some(tls))
    }

    /// Encrypted connections if there are certificates, else plain ones.
    pub fn new(listener: TcpListener, tls: Option<ServerTls>) -> Self {
        Self::start(listener, tls)
    }

    fn start(listener: TcpListener, tls: Option<ServerTls>) -> Self {
        let (sender, connections) = mpsc::channel(WAITING_MAX);
        let accepting = match tls {
            None => tokio::spawn(accept_plain(listener, sender)),
            Some(tls) => tokio::spawn(Handshakes::new(tls, sender, HANDSHAKES_MAX).accept(listener)),
        };
        Self { connections, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Encrypted connections of which few may begin at a time.
    #[cfg(test)]
    pub(crate) fn with_few_handshakes(listener: TcpListener, tls: ServerTls, handshakes_max: usize) -> Self {
        let (sender, connections) = mpsc::channel(WAITING_MAX);
        let accepting = tokio::spawn(Handshakes::new(tls, sender, handshakes_max).accept(listener));
        Self { connections, _accepting: AbortOnDropHandle::new(accepting) }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context)
    }
}

async fn accept_plain(listener: TcpListener, sender: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let (stream, _) = accept(&listener).await;
        if sender.send(Ok(Connection::plain(stream))).await.is_err() {
            return;
        }
    }
}

/// The next client, whatever happens to others.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and must not wait for acknowledgements.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection will be slow");
                }
                return (stream, address);
            }
            // A client that left before it was taken.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

struct Handshakes {
    tls: ServerTls,
    sender: mpsc::Sender<io::Result<Connection>>,
    complaints: Arc<Complaints>,
    running: JoinSet<()>,
    /// In the order in which they began.
    handles: VecDeque<AbortHandle>,
    handshakes_max: usize,
}

impl Handshakes {
    fn new(tls: ServerTls, sender: mpsc::Sender<io::Result<Connection>>, handshakes_max: usize) -> Self {
        Self { tls, sender, complaints: Arc::default(), running: JoinSet::new(), handles: VecDeque::new(), handshakes_max }
    }

    async fn accept(mut self, listener: TcpListener) {
        loop {
            let (stream, address) = tokio::select! {
                accepted = accept(&listener) => accepted,
                () = self.sender.closed() => return,
            };
            self.make_room();
            let (tls, sender, complaints) = (self.tls.clone(), self.sender.clone(), Arc::clone(&self.complaints));
            let handle = self.running.spawn(async move {
                match tokio::time::timeout(HANDSHAKE_LIMIT, shake_hands(stream, &tls)).await {
                    Ok(Ok(Some(connection))) => drop(sender.send(Ok(connection)).await),
                    Ok(Ok(None)) => {}
                    Ok(Err(reason)) => complaints.refused(address, &reason),
                    Err(_) => complaints.refused(address, "it took too long to say who it is"),
                }
            });
            self.handles.push_back(handle);
        }
    }

    fn make_room(&mut self) {
        while self.running.try_join_next().is_some() {}
        if self.handles.len() >= self.handshakes_max {
            self.handles.retain(|handle| !handle.is_finished());
        }
        if self.handles.len() >= self.handshakes_max
            && let Some(oldest) = self.handles.pop_front()
        {
            oldest.abort();
        }
    }
}

/// The connection behind a handshake; `None` for a client that spoke plain text and was told so, or left without a word.
async fn shake_hands(stream: TcpStream, tls: &ServerTls) -> Result<Option<Connection>, String> {
    let addresses = stream.connect_info();
    match plain_text::what_is_spoken(&stream).await.map_err(|error| error.to_string())? {
        Spoken::Tls => match TlsAcceptor::from(tls.config()).accept(stream).into_fallible().await {
            Ok(secured) => Ok(Some(Connection::encrypted(secured, addresses))),
            Err((error, stream)) => {
                let_it_read(stream).await;
                Err(explain::to_a_server(&error))
            }
        },
        spoken => match plain_text::answer(stream, spoken).await {
            Ok(true) => Err("it spoke plain text, this port speaks TLS".to_string()),
            Ok(false) => Ok(None),
            Err(error) => Err(format!("it spoke plain text, this port speaks TLS ({error})")),
        },
    }
}

/// Keeps the connection of a refused client open for a moment. Closed at once, with bytes of the client unread, it would be reset, and the client would
/// never read why it was refused.
async fn let_it_read(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    drop(tokio::time::timeout(LET_READ_FOR, drained).await);
}

/// Tells of refused clients, but not of all when they are many.
#[derive(Default)]
struct Complaints {
    last: Mutex<Option<(Instant, u64)>>,
}

impl Complaints {
    fn refused(&self, address: SocketAddr, reason: &str) {
        let mut last = self.last.lock();
        match &mut *last {
            Some((at, silent)) if at.elapsed() < WARN_EVERY => {
                *silent += 1;
                tracing::debug!(%address, "refused a connection: {reason}");
            }
            _ => {
                let silent = last.map_or(0, |(_, silent)| silent);
                *last = Some((Instant::now(), 0));
                tracing::warn!(%address, not_shown_before = silent, "refused a connection: {reason}");
            }
        }
    }
}
