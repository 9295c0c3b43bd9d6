use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    recvmsg, sendmsg, socket_with,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::{Error, MAX_PACKET};

/// Descriptors that are taken from one packet; one is right, further ones are counted and closed.
const MAX_DESCRIPTORS: usize = 8;

/// A socket that keeps the boundaries of packets and carries descriptors. tokio has no type for them; its datagram socket
/// does what is needed here, which is to wait until the kernel is ready.
#[derive(Debug)]
pub(super) struct PacketSocket(UnixDatagram);

/// A packet and what came with it.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl PacketSocket {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        // Connecting to a local socket either succeeds at once or fails.
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::from_fd(socket)
    }

    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, 16)?;
        Self::from_fd(socket)
    }

    pub(super) async fn accept(&self) -> io::Result<Self> {
        let accept = || Ok(accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?);
        Self::from_fd(self.0.async_io(Interest::READABLE, accept).await?)
    }

    fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(UnixDatagram::from_std(socket.into())?))
    }

    /// The next packet; `None` when the other side has closed.
    pub(super) async fn receive(&self) -> io::Result<Option<Result<Packet, Error>>> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_fd())).await
    }

    pub(super) async fn send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send(self.0.as_fd(), bytes, descriptor)).await
    }
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Result<Packet, Error>>> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    // Taken out whatever becomes of the packet, so that they are closed.
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = rights.flatten().collect();
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Ok(Some(Err(Error::TooLong)));
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Ok(Some(Err(Error::Descriptors { found: MAX_DESCRIPTORS + 1, expected: 1 })));
    }
    bytes.truncate(received.bytes);
    Ok(Some(Ok(Packet { bytes, descriptors })))
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights: Vec<_> = descriptor.into_iter().collect();
    if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&rights)) {
        return Err(io::Error::other("no room for the descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
