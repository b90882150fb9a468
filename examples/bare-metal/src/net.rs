//! `VirtIONet`: sends a request to the network and checks the reply.

use crate::hal::OnDma;
use crate::machine::Dma;
use crate::port::say;
use crate::{MAX_POLLS, TestResult};
use alloc::format;
use virtio_drivers::device::net::{TxBuffer, VirtIONet};
use virtio_drivers::transport::DeviceType;

const NET: usize = 1;
/// Addresses in QEMU's network: this machine's, and the gateway's.
const GUEST: [u8; 4] = [10, 0, 2, 15];
const GATEWAY: [u8; 4] = [10, 0, 2, 2];
/// Start of an ARP packet: hardware and protocol (Ethernet, IPv4), and lengths of their addresses.
/// The operation follows.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Asks for the gateway's hardware address, and waits for the reply.
pub(crate) fn exchange(dma: &'static Dma) -> TestResult {
    let (_, transport) = crate::virtio::<NET>(dma, DeviceType::Network)?;
    let mut net = VirtIONet::<OnDma<NET>, _, 16>::new(transport, 2048)
        .map_err(|err| format!("the network's driver does not start: {err}"))?;
    let own = net.mac_address();
    let nobody = [0; 6];
    let parts: [&[u8]; 9] = [
        &[0xff; 6],
        &own,
        &[8, 6],
        &ETHERNET_IPV4,
        &REQUEST,
        &own,
        &GUEST,
        &nobody,
        &GATEWAY,
    ];
    net.send(TxBuffer::from(&parts.concat()))
        .map_err(|err| format!("cannot send: {err}"))?;
    let answer = (0..MAX_POLLS).find_map(|_| net.receive().ok());
    let answer = answer.ok_or("the network does not answer")?;
    let said = answer.packet();
    // After the Ethernet header: the start as above, the operation, the sender, the receiver.
    let is_reply = said.get(..6) == Some(&own)
        && said.get(14..20) == Some(&ETHERNET_IPV4)
        && said.get(20..22) == Some(&REPLY)
        && said.get(28..32) == Some(&GATEWAY)
        && said.get(32..42) == Some(&[&own[..], &GUEST].concat());
    let gateway = said.get(22..28).unwrap_or(&nobody);
    if !is_reply {
        return Err(format!("the network answers something else: {said:02x?}"));
    }
    say!("virtio net: asked for 10.0.2.2, which is {gateway:02x?}");
    drop(net);
    crate::finish(dma, OnDma::<NET>::driven()).map(|_maps| ())
}
