//! The kernel's table of TCP sockets.
//!
//! It is asked for over `sock_diag(7)`, which answers a question about listening sockets in
//! microseconds. Where that is not to be had, as in some sandboxes, the same table is read from
//! `/proc/net/tcp` and `/proc/net/tcp6` (`proc_pid_net(5)`): a walk through a hash table sized
//! by the machine's memory, about a millisecond each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::port::Port;

/// A TCP socket of this network namespace, of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Socket {
    /// The local port.
    pub(super) port: Port,
    /// The state, as in `include/net/tcp_states.h`: 1 to 13.
    pub(super) state: u8,
    /// The inode that `/proc/PID/fd` shows; 0 when no process has it any more.
    pub(super) inode: u64,
    /// The local address.
    pub(super) address: IpAddr,
    /// The number of the user who opened it.
    pub(super) user: u32,
}

/// `TCP_LISTEN`.
pub(super) const LISTEN: States = States(1 << 10);

/// A set of states: bit `n` for the state of number `n`.
#[derive(Debug, Clone, Copy)]
pub(super) struct States(u32);

impl States {
    /// Every state, with `TCP_BOUND_INACTIVE`, which only `sock_diag` since Linux 6.8 shows.
    pub(super) const ALL: Self = Self(0x3ffe);

    fn contains(self, state: u8) -> bool {
        self.0.checked_shr(state.into()).is_some_and(|bits| bits & 1 == 1)
    }
}

impl Socket {
    /// Whether this is what is left of a connection that its process has closed: `FIN_WAIT1`,
    /// `FIN_WAIT2`, `TIME_WAIT`, `LAST_ACK` or `CLOSING`, and no process behind it.
    pub(super) fn is_closing(self) -> bool {
        matches!(self.state, 4 | 5 | 6 | 9 | 11) && self.inode == 0
    }
}

/// The sockets in one of `states`, on `port` or on any.
pub(super) fn sockets(states: States, port: Option<Port>) -> io::Result<Vec<Socket>> {
    ask(states, port).or_else(|_| read(states, port))
}

/// Asks over `sock_diag(7)`.
fn ask(states: States, port: Option<Port>) -> io::Result<Vec<Socket>> {
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let mut sockets = Vec::new();
    // The kernel never sends more than 32 KiB at once (net/netlink/af_netlink.c).
    let mut buffer = vec![0; 32 * 1024];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        send(&netlink, &request(family, states, port), SendFlags::empty())?;
        let mut more = true;
        while more {
            // The first part is there when `send` returns, the next whenever one was taken.
            let (_, length) = recv(&netlink, buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
            more = reply(&buffer[..length], |socket| {
                // The kernel filters by port, except for some that it has not learnt to.
                if port.is_none_or(|port| port == socket.port) {
                    sockets.push(socket);
                }
            })?;
        }
    }
    Ok(sockets)
}

/// A `struct nlmsghdr` (netlink(7)) and a `struct inet_diag_req_v2` (`sock_diag(7)`) after it.
fn request(family: AddressFamily, states: States, port: Option<Port>) -> [u8; 72] {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST_DUMP: u16 = 0x001 | 0x300;
    const IPPROTO_TCP: u8 = 6;

    let mut message = [0; 72];
    message[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Families are numbers below 256.
    message[16] = family.as_raw().to_le_bytes()[0];
    message[17] = IPPROTO_TCP;
    message[20..24].copy_from_slice(&states.0.to_ne_bytes());
    message[24..26].copy_from_slice(&port.map_or(0, Port::get).to_be_bytes());
    message
}

/// Reads the messages of one part of the answer; whether there is another part.
fn reply(mut bytes: &[u8], mut found: impl FnMut(Socket)) -> io::Result<bool> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;

    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    if bytes.is_empty() {
        return Err(damaged());
    }
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(array(bytes, 0).ok_or_else(damaged)?);
        let length = usize::try_from(length).map_err(|_| damaged())?;
        let message = bytes.get(..length).filter(|_| length >= 16).ok_or_else(damaged)?;
        let kind = u16::from_ne_bytes(array(message, 4).ok_or_else(damaged)?);
        if kind == NLMSG_ERROR || kind == NLMSG_DONE {
            return match array(message, 16).map_or(0, i32::from_ne_bytes) {
                code @ ..0 => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                _ if kind == NLMSG_DONE => Ok(false),
                _ => Err(damaged()),
            };
        }
        if message.len() < DIAG_MESSAGE {
            return Err(damaged());
        }
        diag_message(message).into_iter().for_each(&mut found);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// The length of a `struct inet_diag_msg` (`linux/inet_diag.h`) with its header, in bytes.
const DIAG_MESSAGE: usize = 16 + 72;

/// Reads a `struct inet_diag_msg` after its header; `None` of a socket without a port.
fn diag_message(message: &[u8]) -> Option<Socket> {
    let address = if AddressFamily::from_raw(u16::from(*message.get(16)?)) == AddressFamily::INET {
        IpAddr::from(array::<4>(message, 24)?)
    } else {
        IpAddr::from(array::<16>(message, 24)?)
    };
    Some(Socket {
        port: Port::new(u16::from_be_bytes(array(message, 20)?))?,
        state: *message.get(17)?,
        inode: u32::from_ne_bytes(array(message, 84)?).into(),
        address,
        user: u32::from_ne_bytes(array(message, 80)?),
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Reads `/proc/net/tcp` and `/proc/net/tcp6`; the latter is missing where there is no IPv6.
fn read(states: States, port: Option<Port>) -> io::Result<Vec<Socket>> {
    let mut sockets = read_table(File::open("/proc/net/tcp")?, states, port)?;
    match File::open("/proc/net/tcp6") {
        Ok(table) => sockets.extend(read_table(table, states, port)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// Reads one table, a line for each socket.
fn read_table(table: impl Read, states: States, port: Option<Port>) -> io::Result<Vec<Socket>> {
    // Enough for 400,000 sockets, which is more than the default `tcp_max_tw_buckets` allows to
    // linger. Lines have 150 bytes or a few more.
    const LARGEST: u64 = 64 * 1024 * 1024;

    let mut table = BufReader::with_capacity(32 * 1024, table.take(LARGEST));
    let mut sockets = Vec::new();
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line)? > 0 {
        sockets.extend(parse_line(&line).filter(|socket| {
            states.contains(socket.state) && port.is_none_or(|port| port == socket.port)
        }));
        line.clear();
    }
    if table.get_ref().limit() == 0 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(sockets)
}

/// Reads a line; `None` for the heading, and for a socket without a port.
fn parse_line(line: &[u8]) -> Option<Socket> {
    let mut fields = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.rsplit_once(':')?;
    let port = Port::new(u16::from_str_radix(port, 16).ok()?)?;
    let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
    let user = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Socket { port, state, inode, address: parse_address(address)?, user })
}

/// Reads an address: the words of 32 bits that it is kept in, each as a number of this machine.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?;
        Some(u32::from_be(word))
    };
    match text.len() {
        8 => Some(Ipv4Addr::from_bits(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].map(u32::to_be_bytes);
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    /// Of Linux 6.18: the heading, a listener, a connection, and one that lingers.
    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 245 1 00000000d7c82be5 100 0 0 10 0
   1: 0100007F:1F90 0100007F:A5A4 01 00000000:00000000 00:00000000 00000000  1000        0 4294967296 3 00000000ffdf2936
   2: 0100007F:1F91 0100007F:0050 06 00000000:00000000 03:000002D1 00000000     0        0 0 3 00000000ffdf2936
";
    const TABLE_6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 28514 1 00000000d7c82be5 100 0 0 10 0
";

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    fn socket(number: u16, state: u8, inode: u64, user: u32) -> Socket {
        Socket { port: port(number), state, inode, address: Ipv4Addr::LOCALHOST.into(), user }
    }

    #[test]
    fn both_tables_are_read() {
        let all = |text: &str| read_table(text.as_bytes(), States::ALL, None).unwrap();
        let expected = [
            socket(8080, 10, 245, 1000),
            socket(8080, 1, 4_294_967_296, 1000),
            socket(8081, 6, 0, 0),
        ];
        assert_eq!(all(TABLE), expected);
        let address = IpAddr::from(Ipv6Addr::LOCALHOST);
        assert_eq!(all(TABLE_6), [Socket { address, ..socket(3000, 10, 28514, 0) }]);
        assert_eq!(expected.map(Socket::is_closing), [false, false, true]);
    }

    #[test]
    fn states_and_ports_are_told_apart() {
        let count = |states, port| read_table(TABLE.as_bytes(), states, port).unwrap().len();
        assert_eq!(count(LISTEN, None), 1);
        assert_eq!(count(States::ALL, Some(port(8080))), 2);
        assert_eq!(count(LISTEN, Some(port(8081))), 0);
    }

    #[test]
    fn damaged_lines_are_no_sockets() {
        for line in
            ["", "\n", "0: x", "0: 0:FFFFF 0:0 0A 0 0 0 0 0 1", "0: 0:0000 0:0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(parse_line(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn the_kernel_answers_what_its_table_says() {
        // A socket that listens without a bind gets a port from the kernel.
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.listen(1).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        let listening = ask(LISTEN, Port::new(number)).unwrap();
        assert_eq!(listening, read(LISTEN, Port::new(number)).unwrap());
        assert_eq!(listening.len(), 1);
    }

    #[test]
    fn a_damaged_answer_is_an_error() {
        let message = |kind: u16, payload: &[u8]| {
            let length = u32::try_from(16 + payload.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(payload);
            bytes
        };
        let read = |bytes: &[u8]| reply(bytes, |_| {}).map_err(|error| error.raw_os_error());
        assert_eq!(read(&message(3, &0_i32.to_ne_bytes())), Ok(false));
        assert_eq!(read(&message(20, &[1; 72])), Ok(true));
        assert_eq!(read(&message(2, &(-2_i32).to_ne_bytes())), Err(Some(2)));
        assert_eq!(read(&message(3, &(-2_i32).to_ne_bytes())), Err(Some(2)));
        for bytes in [&[][..], &[0; 16], &[255; 16], &message(20, &[0; 71]), &message(2, &[])] {
            assert_eq!(read(bytes), Err(None), "{bytes:?}");
        }
    }
}
