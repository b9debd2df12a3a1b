//! Every kind separately, on an emulator.

use std::collections::BTreeMap;

use landfall_compute::{
    AutoscalingGroup, ComputeProvider, Instance, InstanceProfile, InstanceState, KeyPair,
    LaunchTemplate, Limits, Metric, ScalingPolicy, Workload,
};
use landfall_provider::{
    AutoscalingGroupId, ErrorKind, ImageId, Input, InstanceId, LaunchTemplateId, Port, Probe,
    Provider, RepositoryId,
};

use crate::bed::{Bed, conform, end, id, key, listed, stack, usable};

pub(crate) const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA0aNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";

fn workload(log: &str) -> Workload {
    let digest = "ab".repeat(32);
    let host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    Workload {
        image: Input::Known(ImageId::from(format!("{host}/digipay/web@sha256:{digest}"))),
        port: Port::new(8000).unwrap(),
        env: BTreeMap::from([("LOG".to_owned(), log.to_owned())]),
        secrets: BTreeMap::from([("TOKEN".to_owned(), "ssm:/digipay/token".parse().unwrap())]),
        logs: Some("/digipay/web".parse().unwrap()),
        limits: Limits::default(),
        init: false,
    }
}

pub(crate) fn template(bed: &Bed, log: &str) -> LaunchTemplate {
    LaunchTemplate {
        instance_type: "t3.micro".to_owned(),
        groups: vec![bed.group.clone()],
        profile: None,
        key: None,
        workload: workload(log),
    }
}

/// A group with an existing template.
async fn group(bed: &Bed) -> (Input<LaunchTemplateId>, AutoscalingGroup) {
    let template = template(bed, "info");
    let key = key::<LaunchTemplate>("web");
    let template = bed.aws.create(&stack(), &key, &template).await.unwrap();
    let group = AutoscalingGroup {
        template: Input::Known(template.clone()),
        subnets: bed.subnets.clone(),
        min: 1,
        desired: 2,
        max: 4,
        target_groups: Vec::new(),
        health_check_grace_period: 330,
    };
    (Input::Known(template), group)
}

#[tokio::test]
async fn needs_moto_a_key_pair() {
    let bed = Bed::new().await;
    let desired = KeyPair {
        public_key: ED25519.parse().unwrap(),
    };
    let id = conform(&bed.aws, &desired, None).await;
    // Another key has another name, so that both can exist at once.
    let other = KeyPair {
        public_key: ED25519.replace("A0aN", "A0aM").parse().unwrap(),
    };
    let key = key::<KeyPair>("web");
    let second = bed.aws.create(&stack(), &key, &other).await.unwrap();
    assert_ne!(second, id);
    let both = listed::<KeyPair>(&bed.aws).await;
    let other = both.iter().find(|live| live.id == second).unwrap();
    bed.aws.delete(other).await.unwrap();
    end::<KeyPair>(&bed.aws).await;
}

#[tokio::test]
async fn needs_moto_an_instance_profile() {
    let bed = Bed::new().await;
    let host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let repository = Input::Known(RepositoryId::from(format!("{host}/digipay/web")));
    let desired = InstanceProfile {
        repositories: vec![repository],
        secrets: Vec::new(),
        logs: None,
    };
    let changed = InstanceProfile {
        secrets: vec![
            "ssm:/digipay/token".parse().unwrap(),
            "secretsmanager:digipay/db".parse().unwrap(),
        ],
        logs: Some("/digipay/web".parse().unwrap()),
        ..desired.clone()
    };
    let id = conform(&bed.aws, &desired, Some(&changed)).await;
    let seen = bed
        .boto(&format!(
            "client('iam').get_role_policy(RoleName='{id}', PolicyName='landfall')['PolicyDocument']"
        ))
        .await;
    assert!(
        seen.to_string().contains("parameter/digipay/token"),
        "{seen}"
    );
    let path = bed
        .boto(&format!(
            "client('iam').get_role(RoleName='{id}')['Role']['Path']"
        ))
        .await;
    assert_eq!(path, "/landfall/eu-central-1/digipay/web/");

    // Somebody extends the policy: this is detected.
    bed.boto(&format!(
        "client('iam').put_role_policy(RoleName='{id}', PolicyName='landfall', PolicyDocument=json.dumps(dict(\
         Version='2012-10-17', Statement=[dict(Effect='Allow', Action='*', Resource='*')])))"
    ))
    .await;
    let live = listed::<InstanceProfile>(&bed.aws).await.remove(0);
    assert_ne!(live.spec, changed);
    bed.aws.update(&live, &changed).await.unwrap();
    assert_eq!(listed::<InstanceProfile>(&bed.aws).await[0].spec, changed);

    // A run that died in the middle of a delete left only the profile: the next one finds it.
    bed.boto(&format!(
        "[client('iam').remove_role_from_instance_profile(InstanceProfileName='{id}', RoleName='{id}'), \
         client('iam').delete_role_policy(RoleName='{id}', PolicyName='landfall')]"
    ))
    .await;
    end::<InstanceProfile>(&bed.aws).await;
    let roles = bed.boto("client('iam').list_roles()['Roles']").await;
    assert_eq!(roles.as_array().unwrap().len(), 0, "{roles}");
}

#[tokio::test]
async fn needs_moto_a_launch_template() {
    let bed = Bed::new().await;
    let (desired, changed) = (template(&bed, "info"), template(&bed, "debug"));
    let id = conform(&bed.aws, &desired, Some(&changed)).await;
    assert_eq!(usable::<LaunchTemplate>(&bed.aws, &id).await.version, 2);

    let data = bed
        .boto(&format!(
            "client('ec2').describe_launch_template_versions(LaunchTemplateId='{id}', Versions=['$Default'])\
             ['LaunchTemplateVersions'][0]"
        ))
        .await;
    assert_eq!(data["VersionNumber"], 2);
    let data = &data["LaunchTemplateData"];
    assert_eq!(data["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(data["MetadataOptions"]["HttpPutResponseHopLimit"], 1);
    assert_eq!(data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"], true);
    assert!(data["ImageId"].as_str().unwrap().starts_with("ami-"));
    for tags in data["TagSpecifications"].as_array().unwrap() {
        assert!(tags.to_string().contains("landfall:stack"), "{tags}");
    }
    end::<LaunchTemplate>(&bed.aws).await;
}

#[tokio::test]
async fn needs_moto_machine_image_matches_the_architecture() {
    let bed = Bed::new().await;
    let mut arm = template(&bed, "info");
    arm.instance_type = "t4g.micro".to_owned();
    for (name, desired) in [
        ("one", template(&bed, "info")),
        ("two", template(&bed, "debug")),
        ("arm", arm),
    ] {
        let key = key::<LaunchTemplate>(name);
        bed.aws.create(&stack(), &key, &desired).await.unwrap();
    }
    let calls = bed.calls();
    let count = |action: &str| calls.iter().filter(|call| *call == action).count();
    assert_eq!(count("ec2:DescribeInstanceTypes"), 2, "{calls:?}");
    assert_eq!(count("ssm:GetParameter"), 2, "{calls:?}");

    let mut unknown = template(&bed, "info");
    unknown.instance_type = "t3.tiny".to_owned();
    let key = key::<LaunchTemplate>("unknown");
    let error = bed.aws.create(&stack(), &key, &unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "eu-central-1 has no instance type t3.tiny that runs Linux on x86_64 or arm64"
    );
}

#[tokio::test]
async fn needs_moto_an_autoscaling_group() {
    let bed = Bed::new().await;
    let (_, desired) = group(&bed).await;
    let changed = AutoscalingGroup {
        subnets: bed.subnets[..1].to_vec(),
        min: 2,
        desired: 3,
        max: 5,
        health_check_grace_period: 60,
        ..desired.clone()
    };
    let id = conform(&bed.aws, &desired, Some(&changed)).await;
    assert_eq!(usable::<AutoscalingGroup>(&bed.aws, &id).await.version, 1);
    let seen = bed
        .boto("client('autoscaling').describe_auto_scaling_groups()['AutoScalingGroups'][0]")
        .await;
    assert_eq!(seen["HealthCheckType"], "ELB");
    assert_eq!(seen["LaunchTemplate"]["Version"], "1");
    assert_eq!(seen["DesiredCapacity"], 3);
    for tag in seen["Tags"].as_array().unwrap() {
        let propagates = tag["Key"] != "landfall:desired";
        assert_eq!(tag["PropagateAtLaunch"], propagates, "{tag}");
    }
    end::<AutoscalingGroup>(&bed.aws).await;
}

#[tokio::test]
async fn needs_moto_scaling_is_no_change_to_the_desired_state() {
    let bed = Bed::new().await;
    let (_, desired) = group(&bed).await;
    let key = key::<AutoscalingGroup>("web");
    let id = bed.aws.create(&stack(), &key, &desired).await.unwrap();
    bed.boto(&format!(
        "client('autoscaling').set_desired_capacity(AutoScalingGroupName='{id}', DesiredCapacity=4)"
    ))
    .await;
    let live = listed::<AutoscalingGroup>(&bed.aws).await.remove(0);
    assert_eq!(live.spec, desired);
    // Other changes do not reset the scaled capacity either.
    let longer = AutoscalingGroup {
        health_check_grace_period: 600,
        ..desired
    };
    bed.aws.update(&live, &longer).await.unwrap();
    let seen = bed
        .boto("client('autoscaling').describe_auto_scaling_groups()['AutoScalingGroups'][0]")
        .await;
    assert_eq!(seen["DesiredCapacity"], 4);
    assert_eq!(seen["HealthCheckGracePeriod"], 600);
}

const BALANCER: &str = r#"
import boto3, json
elb = boto3.client("elbv2")
subnets = boto3.client("ec2").describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.*"]}])["Subnets"]
balancer = elb.create_load_balancer(Name="main", Subnets=[s["SubnetId"] for s in subnets])["LoadBalancers"][0]["LoadBalancerArn"]
targets = [elb.create_target_group(Name=name, Protocol="HTTP", Port=8000, VpcId=subnets[0]["VpcId"])
    ["TargetGroups"][0]["TargetGroupArn"] for name in ("web", "api")]
elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80,
    DefaultActions=[{"Type": "forward", "TargetGroupArn": targets[0]}])
print(json.dumps({"balancer": balancer, "targets": targets}))
"#;

#[tokio::test]
async fn needs_moto_target_groups_come_and_go_and_requests_scale() {
    let bed = Bed::new().await;
    let arns = bed.moto.python(BALANCER).await.unwrap();
    let arns: serde_json::Value = serde_json::from_str(&arns).unwrap();
    let (web, api) = (id(&arns["targets"][0]), id(&arns["targets"][1]));
    let (_, group) = group(&bed).await;
    let desired = AutoscalingGroup {
        target_groups: vec![web],
        ..group
    };
    let changed = AutoscalingGroup {
        target_groups: vec![api],
        ..desired.clone()
    };
    let group = conform(&bed.aws, &desired, Some(&changed)).await;

    let requests = |requests| ScalingPolicy {
        group: Input::Known(group.clone()),
        metric: Metric::RequestsPerTarget {
            requests,
            balancer: id(&arns["balancer"]),
            target_group: id(&arns["targets"][0]),
        },
    };
    conform(&bed.aws, &requests(1000), Some(&requests(500))).await;
    let seen = bed
        .boto("client('autoscaling').describe_policies()['ScalingPolicies'][0]")
        .await;
    let label =
        &seen["TargetTrackingConfiguration"]["PredefinedMetricSpecification"]["ResourceLabel"];
    let label = label.as_str().unwrap();
    assert!(
        label.starts_with("app/main/") && label.contains("/targetgroup/web/"),
        "{label}"
    );
    end::<ScalingPolicy>(&bed.aws).await;
}

#[tokio::test]
async fn needs_moto_a_scaling_policy() {
    let bed = Bed::new().await;
    let (_, desired) = group(&bed).await;
    let key = key::<AutoscalingGroup>("web");
    let group = bed.aws.create(&stack(), &key, &desired).await.unwrap();
    let cpu = |percent| ScalingPolicy {
        group: Input::Known(group.clone()),
        metric: Metric::Cpu(percent),
    };
    conform(&bed.aws, &cpu(60), Some(&cpu(70))).await;
    end::<ScalingPolicy>(&bed.aws).await;
}

async fn address(bed: &Bed) -> serde_json::Value {
    bed.boto("client('ec2').allocate_address(Domain='vpc')['AllocationId']")
        .await
}

#[tokio::test]
async fn needs_moto_an_instance_and_its_address() {
    let bed = Bed::new().await;
    let desired = Instance {
        subnet: bed.subnets[0].clone(),
        groups: vec![bed.group.clone()],
        instance_type: "t3.nano".to_owned(),
        address: Some(id(&address(&bed).await)),
        profile: None,
        key: None,
        workload: None,
    };
    let moved = Instance {
        address: Some(id(&address(&bed).await)),
        ..desired.clone()
    };
    let one = conform(&bed.aws, &desired, Some(&moved)).await;
    let output = usable::<Instance>(&bed.aws, &one).await;
    assert!(output.public_address.is_some());
    let private = Instance {
        address: None,
        ..desired.clone()
    };
    let live = listed::<Instance>(&bed.aws).await.remove(0);
    bed.aws.update(&live, &private).await.unwrap();
    assert_eq!(listed::<Instance>(&bed.aws).await[0].spec, private);
    for (kind, call) in [
        (
            "instance",
            "describe_instances()['Reservations'][0]['Instances'][0]",
        ),
        ("volume", "describe_volumes()['Volumes'][0]"),
    ] {
        let seen = bed.boto(&format!("client('ec2').{call}['Tags']")).await;
        assert!(seen.to_string().contains("landfall:name"), "{kind}: {seen}");
    }
    end::<Instance>(&bed.aws).await;

    // A terminated instance does not satisfy a later create, even with the same spec.
    let key = key::<Instance>("web");
    let two = bed.aws.create(&stack(), &key, &desired).await.unwrap();
    assert_ne!(one, two);
    assert_eq!(bed.aws.create(&stack(), &key, &desired).await.unwrap(), two);
}

#[tokio::test]
async fn needs_moto_an_instance_that_runs_something_says_what() {
    let bed = Bed::new().await;
    let desired = Instance {
        subnet: bed.subnets[0].clone(),
        groups: vec![bed.group.clone()],
        instance_type: "t3.nano".to_owned(),
        address: None,
        profile: None,
        key: None,
        workload: Some(workload("info")),
    };
    conform(&bed.aws, &desired, None).await;
    end::<Instance>(&bed.aws).await;
}

#[tokio::test]
async fn needs_moto_the_instances_of_a_group_are_its_own() {
    let bed = Bed::new().await;
    let (_, desired) = group(&bed).await;
    let key = key::<AutoscalingGroup>("web");
    let group = bed.aws.create(&stack(), &key, &desired).await.unwrap();
    let instances = bed.aws.group_instances(&group).await.unwrap();
    assert_eq!(instances.len(), 2, "{instances:?}");
    for instance in &instances {
        assert_eq!(instance.state, InstanceState::Running);
        assert_eq!(instance.template_version, 1);
        assert!(instance.private_address.is_private());
        assert!(instance.zone.as_str().starts_with("eu-central-1"));
    }
    // They have the stack's tags, and are not single instances.
    assert_eq!(listed::<Instance>(&bed.aws).await, []);
    let none = AutoscalingGroupId::from("none");
    assert_eq!(bed.aws.group_instances(&none).await.unwrap(), []);
    let gone = InstanceId::from("i-0123456789abcdef0");
    let probe = Provider::<Instance>::probe(&bed.aws, &gone);
    assert_eq!(probe.await.unwrap(), Probe::Absent);
}
