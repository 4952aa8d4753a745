//! The floor, which does what a server must and no faster than that, and the bare device beneath it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::TcpStream;

use ringlog_bench::cli::Cli;
use ringlog_bench::load::payload::Payload;
use ringlog_bench::peer::floor::{Floor, Ground};
use ringlog_bench::wire::produce::{Answer, RequestHead};

/// A folder on a disk that takes direct writes, as the temporary one need not be.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn answer(stream: &mut TcpStream) -> Answer {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame).unwrap();
    Answer::decode(&frame).unwrap()
}

#[test]
fn what_is_answered_lies_in_the_file_and_what_is_corrupt_is_refused() {
    let folder = folder();
    let payload = Payload::new(100, 5000).unwrap();
    let floor = Floor::start(folder.path(), Ground::Prewritten, 8192, None).unwrap();
    let mut stream = TcpStream::connect(floor.address()).unwrap();
    let request = RequestHead::new("topic", 1, -1, payload.bytes.len());
    let mut request = request.with_batch(&payload.bytes).bytes;
    for number in 0..3 {
        stream.write_all(&request).unwrap();
        let answer = answer(&mut stream);
        assert_eq!((answer.partition, answer.error_code), (1, 0));
        assert_eq!(answer.base_offset, number * i64::from(payload.records));
    }
    *request.last_mut().unwrap() ^= 1;
    stream.write_all(&request).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it hangs up");
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    let found = bytes.windows(payload.bytes.len()).filter(|one| **one == *payload.bytes);
    assert_eq!(found.count(), 3);
    floor.stop().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its file goes with it");
}

#[test]
fn answers_keep_the_order_of_requests_though_writes_are_done_in_any() {
    let folder = folder();
    let floor = Floor::start(folder.path(), Ground::Prewritten, 300_000, None).unwrap();
    let mut stream = TcpStream::connect(floor.address()).unwrap();
    let mut requests = Vec::new();
    // Large and small by turns, so that a later write has every chance to be done earlier.
    let payloads = [200_000, 300].map(|bytes| Payload::new(100, bytes).unwrap());
    for number in 0..40_i32 {
        let payload = &payloads[usize::from(number % 2 == 1)];
        let head = RequestHead::new("topic", number, -1, payload.bytes.len());
        requests.extend(head.with_batch(&payload.bytes).bytes);
    }
    let mut sender = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&requests).unwrap());
        for number in 0..40 {
            assert_eq!(answer(&mut stream).partition, number);
        }
    });
    floor.stop().unwrap();
}

#[test]
fn the_floor_takes_a_load_on_both_grounds() {
    let folder = folder();
    let line = "bench floor --duration 0.3 --warmup 0 --record-size 1000 --batch-bytes 30000 \
                --connections 1,8 --depth 20 --dir";
    let line = line.split_whitespace().chain([folder.path().to_str().unwrap()]);
    let report = Cli::read(line).unwrap().scenario.reports().unwrap().remove(0);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.measurements.len(), 4, "{report}");
    for one in &report.measurements {
        assert!(one.latency().unwrap().summary.count > 0, "{report}");
        assert!(one.figures.iter().all(|figure| figure.value > 0.0), "{report}");
    }
}

#[test]
fn the_bare_device_is_measured_in_every_way_and_its_files_go() {
    let folder = folder();
    let line = "bench device --duration 0.05 --size 4096,65536 --depth 1,3 --dir";
    let line = line.split_whitespace().chain([folder.path().to_str().unwrap()]);
    let report = Cli::read(line).unwrap().scenario.reports().unwrap().remove(0);
    let cells = &report.device.as_ref().unwrap().cells;
    assert_eq!(cells.len(), 5 * 2 * 2, "{report}");
    for cell in cells {
        assert!(cell.mb_per_s > 0.0 && cell.latency.p50_us > 0.0, "{report}");
        assert_eq!(cell.latency.count > 0, cell.per_s > 0.0, "{report}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let page = ringlog_bench::report::html::page(&[report]).unwrap();
    assert!(page.contains("synced write, fresh space"), "{page}");
}
