//! Stores over the server that `rocbed netboot` runs.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use chunked::Order;
use netboot::server::{Content as Files, Server};
use netboot::{INDEX, ORDER, ROOT};
use sha256::Digest;

use super::tests::{chunks, client, meminfo, read};
use super::*;
use crate::netroot::download::DownloadOptions;
use crate::netroot::on_demand::fetch_order;

const CHUNK: u32 = 16 << 10;

fn whole() -> Vec<u8> {
    (0..40 * CHUNK + 5).map(|at| (at / 5 % 247) as u8).collect()
}

/// What the server tells a machine of earlier starts.
fn told(base: &str, index: &Index) -> Vec<usize> {
    let bytes = fetch_order(&format!("{base}/{ORDER}"), &DownloadOptions::default());
    let order = Order::parse(&bytes, Digest::of(index.to_bytes()), index.chunks().len());
    order.map_or_else(|_| Vec::new(), |order| order.numbers().collect())
}

#[test]
fn machines_fetch_first_what_earlier_ones_read_and_sixty_four_come_at_once() {
    let (index, file) = chunks(&whole(), CHUNK);
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join(ROOT);
    fs::write(&root, file).expect("the chunks");
    let files = BTreeMap::from([(INDEX.to_owned(), index.to_bytes())]);
    let (sender, _events) = channel();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = Server::start(socket, Files { files, root }, sender).expect("a server");
    let base = format!("http://{}", server.address());
    let url = format!("{base}/{ROOT}");
    let (available, memory) = meminfo(4096);

    assert!(told(&base, &index).is_empty());
    let (first, _) = client(&url, index.clone(), &[], memory);
    let chunk = CHUNK as usize;
    for number in [30, 2, 17] {
        read(&first, number * chunk, 10);
    }
    // What comes in the background was not needed, and is not in the order.
    first.fetch_rest();
    assert_eq!(told(&base, &index), [30, 2, 17]);

    let whole = whole();
    thread::scope(|scope| {
        for machine in 0..64_usize {
            let (base, url, index, whole, available) = (&base, &url, &index, &whole, &available);
            scope.spawn(move || {
                let memory = Meminfo::of(fs::File::open(available.path()).expect("the file"));
                let order = told(base, index);
                assert_eq!(order.get(..3), Some(&[30, 2, 17][..]));
                let (store, notes) = client(url, index.clone(), &order, memory);
                let place = machine * 7919 % (whole.len() - 5000);
                assert!(read(&store, place, 5000) == whole[place..place + 5000], "machine {machine}");
                store.fetch_rest();
                assert!(notes.is_complete.load(Ordering::Relaxed), "machine {machine}");
                assert!(read(&store, 0, whole.len()) == *whole, "machine {machine}");
            });
        }
    });
}
