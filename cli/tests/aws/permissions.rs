//! The operator's policy with evaluated policies: it is sufficient, and a missing action is
//! reported with its operation.
//!
//! moto evaluates the policies, with the resources and actions that `testkit/moto/permissions.py`
//! adds. Requests to ECR's registry are not evaluated: the registry is not part of moto.

use std::collections::BTreeSet;
use std::time::Instant;

use landfall_testkit::moto::Conversation;
use serde_json::{Value, json};

use crate::account::{Account, EXAMPLE, Ran};
use crate::eye::{list, look, what_is_there};
use crate::iam;

/// Creates a user, prints its key, and attaches each policy that it reads as the only one. It runs
/// with all permissions.
const ADMINISTRATOR: &str = r#"
import boto3, json, sys
def key(user):
    boto3.client("iam").create_user(UserName=user)
    return boto3.client("iam").create_access_key(UserName=user)["AccessKey"]
key, own = key("ana"), key("root")
boto3.client("iam").attach_user_policy(UserName="root", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
iam = boto3.client("iam", aws_access_key_id=own["AccessKeyId"], aws_secret_access_key=own["SecretAccessKey"])
sys.stdin.readline()
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]), flush=True)
for policy in sys.stdin:
    iam.put_user_policy(UserName="ana", PolicyName="landfall", PolicyDocument=policy)
    print("given", flush=True)
"#;

/// An account with evaluated policies, and a user without any.
struct Guarded {
    account: Account,
    administrator: Conversation,
    key: (String, String),
}

impl Guarded {
    async fn new() -> Self {
        let account = Account::new(EXAMPLE).await;
        let mut administrator = account.aws.moto.converse(ADMINISTRATOR).unwrap();
        let key = administrator.ask("who?").await.unwrap();
        account.aws.moto.enforce_iam().unwrap();
        Self {
            account,
            administrator,
            key: serde_json::from_str(&key).unwrap(),
        }
    }

    /// From now on the user has only these permissions.
    async fn give(&mut self, policy: &Value) {
        let given = self.administrator.ask(&policy.to_string()).await;
        assert_eq!(given.unwrap(), "given");
    }

    /// Runs the program as the user.
    fn landfall(&self, args: &[&str]) -> Ran {
        let mut command = self.account.command(args);
        command
            .env("AWS_ACCESS_KEY_ID", &self.key.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.key.1);
        Ran::from(command.output().unwrap())
    }

    /// Runs it repeatedly, and each time grants the actions that its errors name. Adds all of them
    /// to `granted`.
    async fn allowed_bit_by_bit(&mut self, granted: &mut BTreeSet<String>, args: &[&str]) {
        let start = Instant::now();
        for round in 1.. {
            assert!(round < 100, "{args:?} comes to no end");
            let refused = self.with_what_is_granted(granted, args).await;
            if refused.contains("ssm:DeleteParameter") || refused.contains("ssm:GetParameter") {
                // The lock could not be released.
                while !self
                    .with_what_is_granted(granted, &["unlock", "--json", "--yes"])
                    .await
                    .is_empty()
                {}
            }
            if refused.is_empty() {
                let took = start.elapsed().as_secs_f64();
                eprintln!("{}: {round} rounds, {took:.0} s", args[0]);
                return;
            }
        }
    }

    /// Runs it with exactly the granted actions, and grants and adds the refused ones; none, if it
    /// succeeded.
    async fn with_what_is_granted(
        &mut self,
        granted: &mut BTreeSet<String>,
        args: &[&str],
    ) -> BTreeSet<String> {
        self.give(&only(granted)).await;
        let ran = self.landfall(args);
        let refused = refused(&ran);
        let is_done = ran.code == Some(0) && refused.is_empty();
        let is_new = refused.iter().any(|action| !granted.contains(action));
        assert!(
            is_done || is_new,
            "no error names what has to be allowed: {ran:#?}"
        );
        granted.extend(refused.iter().cloned());
        refused
    }
}

const REFUSAL: &str = " is not authorized to perform: ";

/// The denied actions in a run's errors.
fn refused(ran: &Ran) -> BTreeSet<String> {
    let last = ran.json();
    let mut actions = BTreeSet::new();
    for error in list(&last["errors"]) {
        let message = error["message"].as_str().unwrap();
        let Some((doing, named)) = message.split_once(REFUSAL) else {
            continue;
        };
        eprintln!("{message}");
        let action = named.split(' ').next().unwrap();
        assert_eq!(error["kind"], "denied", "{error:#}");
        let hint = error["hint"].as_str().unwrap();
        for part in [action, "iam-policy"] {
            assert!(hint.contains(part), "{error:#}");
        }
        // The operation: `creating vpc/main`, `listing vpc`; the lock and the preflight name their
        // subject themselves.
        let verb = doing.split(' ').next().unwrap();
        let is_about = ["creating", "updating", "deleting", "listing"].contains(&verb)
            || named.contains("parameter/landfall/digipay/lock")
            || last["stage"] == "preflight"
            || last["message"] == "cannot find out whether web is healthy"
            || last["message"] == "cannot list the releases of web";
        assert!(is_about, "{last:#}");
        actions.insert(action.to_owned());
    }
    // Releasing the lock is not part of the requested operation: its failure is reported
    // separately.
    for line in ran
        .stdout
        .lines()
        .filter(|line| line.contains("could not be released"))
    {
        eprintln!("{line}");
        let (_, named) = line.split_once(REFUSAL).unwrap();
        actions.insert(named.split(' ').next().unwrap().to_owned());
    }
    actions
}

/// The part of the operator's policy for these actions.
fn only(actions: &BTreeSet<String>) -> Value {
    let mut policy = iam::policy();
    let statements = policy["Statement"].as_array_mut().unwrap();
    for statement in &mut *statements {
        let allowed = statement["Action"].as_array_mut().unwrap();
        allowed.retain(|action| actions.contains(action.as_str().unwrap()));
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    policy
}

const OTHER_PORT: [&str; 2] = ["port     = 8000", "port     = 9000"];

#[tokio::test]
async fn needs_emulators_operator_policy_suffices_for_a_lifecycle() {
    let mut guarded = Guarded::new().await;
    let stranger = guarded.landfall(&["plan"]).ended_with(1);
    assert!(
        stranger.stderr.contains("not authorized"),
        "{}",
        stranger.stderr
    );

    guarded.give(&iam::policy()).await;
    guarded.landfall(&["deploy"]).ended_with(0);
    let changed = EXAMPLE.replace(OTHER_PORT[0], OTHER_PORT[1]);
    guarded.account.write("landfall.toml", &changed);
    guarded.landfall(&["deploy", "--yes"]).ended_with(0);
    guarded.landfall(&["status"]).ended_with(0);
    guarded
        .landfall(&["destroy", "--yes", "--stack", "digipay"])
        .ended_with(0);

    guarded.account.aws.moto.trust_everybody().unwrap();
    let left = look(&guarded.account).await;
    // The user's own key pair does not count.
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}

#[tokio::test]
async fn needs_emulators_missing_permission_is_named_with_its_use() {
    let mut guarded = Guarded::new().await;
    // This call needs no permission, and a policy must not be empty.
    let mut granted = BTreeSet::from(["sts:GetCallerIdentity".to_owned()]);
    guarded
        .allowed_bit_by_bit(&mut granted, &["deploy", "--json", "--keep-failed"])
        .await;
    let changed = EXAMPLE.replace(OTHER_PORT[0], OTHER_PORT[1]);
    guarded.account.write("landfall.toml", &changed);
    guarded
        .allowed_bit_by_bit(&mut granted, &["deploy", "--json", "--yes"])
        .await;
    guarded
        .allowed_bit_by_bit(
            &mut granted,
            &["destroy", "--json", "--yes", "--stack", "digipay"],
        )
        .await;

    // Every called action was refused and named first.
    let called: BTreeSet<String> = guarded.account.calls().into_keys().collect();
    let unnamed: Vec<_> = called.difference(&granted).collect();
    assert!(
        unnamed.is_empty(),
        "{unnamed:?} were refused, and no error says so"
    );
    let besides: Vec<_> = granted.difference(&called).collect();
    eprintln!(
        "{} actions; needed besides those that were called: {besides:?}",
        granted.len()
    );
    let policy = iam::allowed(&iam::policy());
    assert!(granted.is_subset(&policy));
}
