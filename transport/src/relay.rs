//! Hands encrypted connections on to a server of this process that cannot decrypt them itself.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Connection, Incoming};

/// Bytes that are copied at a time, each way.
const BUFFER_BYTES: usize = 256 << 10;

/// Copies the bytes of every connection to and from `server`, until this is dropped.
pub async fn relay(mut incoming: Incoming, server: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Some(connection) = incoming.next().await {
        while connections.try_join_next().is_some() {}
        match connection {
            Ok(connection) => drop(connections.spawn(hand_on(connection, server))),
            Err(error) => tracing::debug!(%error, "a connection broke before it was taken"),
        }
    }
}

async fn hand_on(mut from: Connection, server: SocketAddr) {
    let copied = async {
        let mut to = TcpStream::connect(server).await?;
        to.set_nodelay(true)?;
        tokio::io::copy_bidirectional_with_sizes(&mut from, &mut to, BUFFER_BYTES, BUFFER_BYTES).await
    };
    if let Err(error) = copied.await {
        tracing::debug!(%error, "a connection broke");
    }
}
