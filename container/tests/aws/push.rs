//! Pushes to a registry that refuses, or loses its last answer, like ECR:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/common-errors-docker.html>.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use landfall_container::aws::make_in;
use landfall_container::{BuildRequest, BuildSpec, BuilderChoice, Image, ImageBuilder};
use landfall_provider::{
    Error, ErrorKind, Events, ImageId, Input, Left, Provider, RepositoryId, Result,
};
use landfall_testkit::scripted::{Answer, Call};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{key, scripted, stack};

const REPOSITORY: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/digipay/web";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Answers a request by its method and path; `None` closes the connection instead.
type Script = dyn Fn(&str, &str) -> Option<(u16, String)> + Send + Sync;

/// A registry on loopback with scripted answers. It ends with the test's process.
fn registry(
    script: impl Fn(&str, &str) -> Option<(u16, String)> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script: Arc<Script> = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || serve(stream, address, script.as_ref()));
        }
    });
    address
}

/// One request of one connection.
fn serve(stream: TcpStream, address: SocketAddr, script: &Script) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
    let (status, body) = script(&method, &path)?;
    let answer = format!(
        "HTTP/1.1 {status} So\r\nlocation: http://{address}/v2/digipay/web/blobs/uploads/1\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    reader.get_mut().write_all(answer.as_bytes()).ok()
}

/// The answers of a registry that accepts everything.
fn taken(method: &str, path: &str) -> (u16, String) {
    let status = match method {
        "HEAD" => 404,
        "POST" => 202,
        "PUT" => 201,
        _ if path == "/v2/" => 200,
        _ => 404,
    };
    (status, String::new())
}

/// A refusal in the form of the distribution specification.
fn refused(status: u16, code: &str, message: &str) -> (u16, String) {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    (status, body.to_string())
}

/// Builds an image of one file and pushes it to that registry; returns also the queries for images
/// to ECR.
async fn pushed(
    registry: SocketAddr,
    there: impl Fn(&Call) -> Answer + Send + Sync + 'static,
) -> (Result<ImageId>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let (aws, _endpoint) = scripted(move |call| match call.action.as_str() {
        "GetAuthorizationToken" => Some(Answer::json(&json!({ "authorizationData": [{
            "authorizationToken": base64::engine::general_purpose::STANDARD.encode("AWS:secret"),
            "proxyEndpoint": format!("http://{registry}"),
        }]}))),
        "DescribeImages" => {
            log.lock().unwrap().push(call.json());
            Some(there(call))
        }
        _ => None,
    })
    .await;
    make_in(
        &aws,
        ImageBuilder::open(Some(dir.path().join("store")), Events::nowhere()).unwrap(),
    );
    let image = image(&dir);
    let outcome = aws.create(&stack(), &key::<Image>("web"), &image).await;
    let asked = asked.lock().unwrap().clone();
    (outcome, asked)
}

fn image(dir: &TempDir) -> Image {
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("service"), "not a program").unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY service /service\nENTRYPOINT [\"/service\"]\n",
    )
    .unwrap();
    let request = BuildRequest::new(&context);
    Image {
        repository: Input::Known(RepositoryId::from(REPOSITORY)),
        source: request.identity().unwrap(),
        platform: request.platform,
        build_spec: BuildSpec {
            context,
            dockerfile: PathBuf::from("Dockerfile"),
            args: BTreeMap::new(),
            target: None,
            config_file: None,
            builder: BuilderChoice::Daemonless,
        },
    }
}

fn no_image(call: &Call) -> Answer {
    call.error(400, "ImageNotFoundException", "The image does not exist")
}

fn reported(error: &Error) -> String {
    format!("{error}; {}", error.hint_text().unwrap_or_default())
}

#[tokio::test]
async fn denied_push_names_action_and_repository() {
    for (at, action) in [
        ("HEAD", "ecr:BatchCheckLayerAvailability"),
        ("POST", "ecr:InitiateLayerUpload"),
        ("manifests", "ecr:PutImage"),
    ] {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let registry = registry(move |method, path| {
            if method == at || path.contains(at) {
                counted.fetch_add(1, Ordering::Relaxed);
                return Some(refused(
                    403,
                    "DENIED",
                    "User: ana is not authorized to perform this",
                ));
            }
            Some(taken(method, path))
        });
        let (outcome, asked) = pushed(registry, no_image).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{at}: {error:?}");
        let reported = reported(&error);
        assert!(reported.contains(action), "{reported}");
        assert!(reported.contains(REPOSITORY), "{reported}");
        assert!(reported.contains("iam-policy"), "{reported}");
        assert_eq!(*error.left_behind(), Left::Nothing);
        assert_eq!(asked, Vec::<Value>::new());
        assert!(tries.load(Ordering::Relaxed) > 0);
    }
}

/// An immutable tag is not assigned twice, not even to the same image:
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html>.
#[tokio::test]
async fn lost_push_answer_is_found_by_tag() {
    for refused in [
        None,
        Some(refused(
            400,
            "TAG_INVALID",
            "The image tag 'x' already exists in the 'digipay/web' repository and cannot be overwritten because the \
             repository is immutable.",
        )),
    ] {
        let registry = registry(move |method, path| match path.contains("manifests") {
            true => refused.clone(),
            false => Some(taken(method, path)),
        });
        let (outcome, asked) = pushed(registry, |_| {
            Answer::json(&json!({ "imageDetails": [{ "imageDigest": DIGEST }] }))
        })
        .await;
        assert_eq!(outcome.unwrap().as_ref(), format!("{REPOSITORY}@{DIGEST}"));
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["repositoryName"], "digipay/web");
        let tag = asked[0]["imageIds"][0]["imageTag"].as_str().unwrap();
        assert!(tag.contains(".linux-"), "{tag}");
    }
}

#[tokio::test]
async fn a_push_that_broke_off_is_to_be_tried_again() {
    let broken =
        registry(|method, path| (!path.contains("manifests")).then(|| taken(method, path)));
    let (outcome, _) = pushed(broken, no_image).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);

    let busy = registry(|method, path| {
        Some(match method {
            "POST" => refused(429, "TOOMANYREQUESTS", "Rate exceeded"),
            _ => taken(method, path),
        })
    });
    let (outcome, _) = pushed(busy, no_image).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Throttled);
}
