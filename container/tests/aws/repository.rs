//! The repositories of a stack, and their settings.

use landfall_container::{Repository, kinds};
use landfall_provider::{Catalog, ErrorKind, Probe, Provider, Stack, apply, plan};
use landfall_testkit::scripted::Answer;
use serde_json::json;

use crate::bed::{Bed, key, quick, repositories, scripted, stack};

fn web(keep: u32) -> Repository {
    Repository {
        name: "digipay/web".to_owned(),
        keep,
    }
}

#[tokio::test]
async fn needs_moto_repository_is_immutable_scanned_and_trimmed() {
    let bed = Bed::new().await;
    let key = key::<Repository>("web");
    let id = bed.aws.create(&stack(), &key, &web(10)).await.unwrap();
    assert_eq!(bed.aws.create(&stack(), &key, &web(10)).await.unwrap(), id);
    let live = repositories(&bed.aws).await;
    assert_eq!(live.len(), 1, "{live:?}");
    assert_eq!((&live[0].id, live[0].name.as_str()), (&id, "web"));
    assert_eq!(live[0].spec, web(10));

    let made = bed
        .boto("ecr.describe_repositories()['repositories']")
        .await;
    assert_eq!(made.as_array().unwrap().len(), 1, "{made:#}");
    assert_eq!(made[0]["repositoryName"], "digipay/web");
    assert_eq!(made[0]["imageTagMutability"], "IMMUTABLE");
    assert_eq!(made[0]["imageScanningConfiguration"]["scanOnPush"], true);
    let tags = "sorted((t['Key'], t['Value']) for t in ecr.list_tags_for_resource(resourceArn=\
                ecr.describe_repositories()['repositories'][0]['repositoryArn'])['tags'])";
    assert_eq!(
        bed.boto(tags).await,
        json!([
            ["Name", "digipay-web"],
            ["landfall:name", "web"],
            ["landfall:stack", "digipay"]
        ])
    );
    let kept =
        "json.loads(ecr.get_lifecycle_policy(repositoryName='digipay/web')['lifecyclePolicyText'])";
    let rules = |keep: u32| {
        json!([{
            "rulePriority": 1,
            "description": format!("Keep the last {keep} images"),
            "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep },
            "action": { "type": "expire" },
        }])
    };
    assert_eq!(bed.boto(kept).await["rules"], rules(10));
    bed.aws.update(&live[0], &web(3)).await.unwrap();
    assert_eq!(bed.boto(kept).await["rules"], rules(3));
    assert_eq!(repositories(&bed.aws).await[0].spec, web(3));

    bed.aws.delete(&live[0]).await.unwrap();
    bed.aws.delete(&live[0]).await.unwrap();
    let gone = Provider::<Repository>::probe(&bed.aws, &id).await.unwrap();
    assert_eq!(gone, Probe::Absent);
    assert_eq!(repositories(&bed.aws).await, []);
}

/// Other owners may have repositories with a stack's names, with or without tags.
const OTHERS: &str = "[ecr.create_repository(repositoryName=name, tags=[{'Key': k, 'Value': v} for k, v in tags.items()]) \
    ['repository']['repositoryName'] for name, tags in [ \
        ('digipay/other', {}), \
        ('digipay/team/web', {'team': 'web'}), \
        ('digipay/two', {'landfall:stack': 'digipay-two', 'landfall:name': 'two'})]]";

#[tokio::test]
async fn needs_moto_what_others_named_like_a_stacks_survives_its_end() {
    let bed = Bed::new().await;
    bed.boto(OTHERS).await;
    let catalog = kinds(Catalog::new());
    let mut desired = Stack::new(stack());
    desired.add("web", web(10));
    for (desired, mine) in [(desired, 1), (Stack::new(stack()), 0)] {
        let live = catalog.snapshot(&bed.aws, &stack()).await.unwrap();
        let plan = plan(&desired, &live, catalog.schema()).unwrap();
        let applied = apply(&plan, &bed.aws, &catalog, &quick()).await;
        assert!(applied.is_complete(), "{applied:#?}");
        assert_eq!(repositories(&bed.aws).await.len(), mine);
    }
    let left = "sorted(r['repositoryName'] for r in ecr.describe_repositories()['repositories'])";
    assert_eq!(
        bed.boto(left).await,
        json!(["digipay/other", "digipay/team/web", "digipay/two"])
    );
}

#[tokio::test]
async fn needs_moto_foreign_repository_is_left_alone() {
    let bed = Bed::new().await;
    bed.boto("ecr.create_repository(repositoryName='digipay/web')")
        .await;
    let key = key::<Repository>("web");
    let error = bed.aws.create(&stack(), &key, &web(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let reported = error.to_string();
    assert!(
        reported.contains("digipay/web") && reported.contains("do not belong to this stack"),
        "{reported}"
    );
    let hint = error.hint_text().unwrap();
    assert!(
        hint.contains("landfall:stack = digipay, landfall:name = web"),
        "{hint}"
    );
    let made = bed
        .boto("ecr.describe_repositories()['repositories']")
        .await;
    assert_eq!(made[0]["imageTagMutability"], "MUTABLE");
    let no_rule = bed
        .moto
        .python(
            "import boto3; boto3.client('ecr').get_lifecycle_policy(repositoryName='digipay/web')",
        )
        .await;
    let no_rule = no_rule.unwrap_err().to_string();
    assert!(no_rule.contains("LifecyclePolicyNotFound"), "{no_rule}");
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListTagsForResource.html>: RepositoryNotFoundException
#[tokio::test]
async fn neighbour_deleted_during_listing_is_no_failure() {
    let (aws, endpoint) = scripted(|call| match call.action.as_str() {
        "DescribeRepositories" => {
            let one = |name: &str| {
                json!({ "repositoryName": name, "repositoryArn": format!("arn:{name}"), "repositoryUri": name })
            };
            let all = ["digipay/gone", "digipay/web", "else/web"].map(one);
            Some(Answer::json(&json!({ "repositories": all })))
        }
        "ListTagsForResource" if call.json()["resourceArn"] == "arn:digipay/web" => {
            let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
            let tags = [tag("landfall:stack", "digipay"), tag("landfall:name", "web")];
            Some(Answer::json(&json!({ "tags": tags })))
        }
        "ListTagsForResource" => Some(call.error(
            400,
            "RepositoryNotFoundException",
            "The repository with name 'digipay/gone' does not exist",
        )),
        "GetLifecyclePolicy" => Some(call.error(
            400,
            "LifecyclePolicyNotFoundException",
            "Lifecycle policy does not exist",
        )),
        _ => None,
    })
    .await;
    let live = repositories(&aws).await;
    let names: Vec<&str> = live.iter().map(|one| one.spec.name.as_str()).collect();
    assert_eq!(names, ["digipay/web"]);
    // Names that no stack can have are not queried.
    assert!(
        endpoint
            .calls()
            .iter()
            .all(|call| !call.body.contains("arn:else"))
    );
}
