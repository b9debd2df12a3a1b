//! Mutated bytes on the control socket: frames and requests are read, or refused with an error.

use landfall_testkit::fuzz::Fuzz;

use crate::frames::{Frame, FrameReader, FrameWriter};
use crate::wire::{Answer, Request};

#[test]
fn frames() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let mut stream = Vec::new();
        let mut writer = FrameWriter::new(&mut stream);
        for frame in [
            Frame::Input(b"ls\n".to_vec().into()),
            Frame::Resize {
                columns: 80,
                rows: 24,
            },
            Frame::Signal(2),
            Frame::Output(b"a b c".to_vec().into()),
            Frame::InputEnds,
            Frame::Exited(1),
        ] {
            writer.send(frame).await.unwrap();
        }
        stream
    });
    let fuzz = Fuzz {
        name: "frames",
        seeds: &[&stream],
        words: &["\0\0\0\0", "\0\0\0\u{1}", "\u{7f}", "\0\u{7f}\u{7f}\u{7f}"],
        inputs: 1_500,
    };
    fuzz.run(|input| {
        runtime.block_on(async {
            let mut reader = FrameReader::new(input);
            let mut frames = 0;
            // A connection ends at its end or at the first error.
            while let Ok(Some(_)) = reader.next().await {
                frames += 1;
            }
            assert!(
                frames <= input.len() / 5,
                "each frame takes five bytes or more"
            );
        });
    });
}

#[test]
fn requests() {
    let fuzz = Fuzz {
        name: "control requests",
        seeds: &[
            br#"{"protocol":7,"call":{"list":{"kind":"vpc","stack":"shop"}}}"#,
            br#"{"protocol":7,"call":{"create":{"kind":"subnet","stack":"shop","name":"public-1","spec":{"cidr":"10.0.0.0/24"},"extras":{"published_port":80,"image_store":"/x","note":{},"secrets":{}}}}}"#,
            br#"{"protocol":7,"call":{"exec":{"instance":"i-0123","argv":["ls"],"terminal":{"columns":80,"rows":24,"term":"xterm"}}}}"#,
            br#"{"protocol":7,"call":{"reach":{"from":{"instance":"i-0123"},"to":"10.0.0.1","port":80,"timeout_ms":5}}}"#,
            br#"{"ok":[1,2,{"a":null}]}"#,
        ],
        words: &["null", "{}", "[]", "\"\"", "-1", "1e99", "18446744073709551616", "[[[[[[[[[[", "\\u0000", "\\ud800", "\"holds-something\"", ","],
        inputs: 1_500,
    };
    fuzz.run(|input| {
        if let Ok(request) = serde_json::from_slice::<Request>(input) {
            // A request that was read can be written again.
            serde_json::to_vec(&request).unwrap();
        }
        if let Ok(answer) = serde_json::from_slice::<Answer>(input) {
            serde_json::to_vec(&answer).unwrap();
        }
    });
}
