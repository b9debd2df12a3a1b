"""What is in the account, a line each, with the names that tags give in the place of ids.

A thing of the account's beginning is left out. What carries no `landfall:stack` and `landfall:name` shows as
`untagged`, and with the name that it has otherwise. What comes before this says where the registry is, `REGISTRY`, and
who may ask it, `USER`.
"""

import base64
import hashlib
import json
import re
import boto3
import requests

ec2, elb, asg = (boto3.client(name) for name in ("ec2", "elbv2", "autoscaling"))
ecr, iam, ssm = (boto3.client(name) for name in ("ecr", "iam", "ssm"))
lines, names = [], {}


def pages(client, action, key, **asked):
    return [x for page in client.get_paginator(action).paginate(**asked) for x in page[key]]


def say(kind, name, *facts):
    lines.append(" ".join([kind, name, *map(str, facts)]))


def named(tags, otherwise):
    tags = {t["Key"]: t["Value"] for t in tags or []}
    if "landfall:stack" in tags and "landfall:name" in tags:
        return tags["landfall:name"]
    return f"untagged({otherwise})"


def learn(things, id_key, otherwise=None):
    for thing in things:
        tags = thing.get("Tags") or thing.get("TagSet")
        names[thing[id_key]] = named(tags, thing.get(otherwise, "") if otherwise else "")
    return things


def each(ids):
    return ",".join(sorted(names.get(i, i) for i in ids)) or "none"


default = {v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if v["IsDefault"]}


def own(things):
    return [t for t in things if t.get("VpcId") not in default]


vpcs = learn(own(pages(ec2, "describe_vpcs", "Vpcs")), "VpcId")
gateways = pages(ec2, "describe_internet_gateways", "InternetGateways")
learn(gateways, "InternetGatewayId")
subnets = learn(own(pages(ec2, "describe_subnets", "Subnets")), "SubnetId")
addresses = learn(ec2.describe_addresses()["Addresses"], "AllocationId")
nats = [n for n in pages(ec2, "describe_nat_gateways", "NatGateways") if n["State"] != "deleted"]
learn(nats, "NatGatewayId")
tables = learn(own(pages(ec2, "describe_route_tables", "RouteTables")), "RouteTableId")
endpoints = pages(ec2, "describe_vpc_endpoints", "VpcEndpoints")
endpoints = learn([e for e in endpoints if e["State"] != "deleted"], "VpcEndpointId")
acls = learn(own(pages(ec2, "describe_network_acls", "NetworkAcls")), "NetworkAclId")
groups = learn(own(pages(ec2, "describe_security_groups", "SecurityGroups")), "GroupId", "GroupName")
templates = learn(pages(ec2, "describe_launch_templates", "LaunchTemplates"), "LaunchTemplateId")
scaling = pages(asg, "describe_auto_scaling_groups", "AutoScalingGroups")
learn(scaling, "AutoScalingGroupName")
balancers = pages(elb, "describe_load_balancers", "LoadBalancers")
targets = pages(elb, "describe_target_groups", "TargetGroups")
listeners = [l for b in balancers
             for l in pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=b["LoadBalancerArn"])]
rules = [r for l in listeners for r in elb.describe_rules(ListenerArn=l["ListenerArn"])["Rules"]
         if not r["IsDefault"]]
for arn in ([b["LoadBalancerArn"] for b in balancers] + [t["TargetGroupArn"] for t in targets]
            + [l["ListenerArn"] for l in listeners] + [r["RuleArn"] for r in rules]):
    names[arn] = named(elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"], arn)

for v in vpcs:
    dns = [ec2.describe_vpc_attribute(VpcId=v["VpcId"], Attribute=a)[k]["Value"]
           for a, k in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames"))]
    say("vpc", names[v["VpcId"]], v["CidrBlock"], "dns" if all(dns) else f"dns {dns}")
for g in gateways:
    attached = [a["VpcId"] for a in g["Attachments"]]
    if not set(attached) & default:
        say("internet-gateway", names[g["InternetGatewayId"]], "of", each(attached))
for s in subnets:
    say("subnet", names[s["SubnetId"]], s["CidrBlock"], s["AvailabilityZone"],
        "public-addresses" if s["MapPublicIpOnLaunch"] else "no-public-addresses")
for a in addresses:
    say("elastic-ip", names[a["AllocationId"]], a["Domain"])
for n in nats:
    say("nat-gateway", names[n["NatGatewayId"]], n["State"], "in", each([n["SubnetId"]]), "with",
        each(a["AllocationId"] for a in n["NatGatewayAddresses"]))
for t in tables:
    name, of = names[t["RouteTableId"]], t["Associations"]
    if any(a.get("Main") for a in of):
        name = "main-of-the-vpc"
    say("route-table", name, "of", each(a["SubnetId"] for a in of if "SubnetId" in a))
    for r in t["Routes"]:
        to = next(r[k] for k in ("NatGatewayId", "GatewayId", "InstanceId", "NetworkInterfaceId") if r.get(k))
        # The list's id differs in each account.
        say("route", name, r.get("DestinationCidrBlock", "prefix-list"), "to", each([to]))
for e in endpoints:
    say("endpoint", names[e["VpcEndpointId"]], e["VpcEndpointType"], e["ServiceName"], "on", each(e["RouteTableIds"]))
for a in acls:
    name = "default-of-the-vpc" if a["IsDefault"] else names[a["NetworkAclId"]]
    say("acl", name, "of", each(s["SubnetId"] for s in a["Associations"]))
    for e in a["Entries"]:
        ports = e.get("PortRange", {})
        say("acl-entry", name, "out" if e["Egress"] else "in", e["RuleNumber"], e["RuleAction"], e["Protocol"],
            e.get("CidrBlock"), f"{ports.get('From', '*')}-{ports.get('To', '*')}")
for g in groups:
    name = names[g["GroupId"]]
    say("group", name)
    for way, permissions in (("in", g["IpPermissions"]), ("out", g["IpPermissionsEgress"])):
        for p in permissions:
            peers = [r["CidrIp"] for r in p["IpRanges"]] + [r["CidrIpv6"] for r in p["Ipv6Ranges"]]
            peers += [f"group/{each([r['GroupId']])}" for r in p["UserIdGroupPairs"]]
            for peer in peers + [x["PrefixListId"] for x in p["PrefixListIds"]]:
                say("rule", name, way, p["IpProtocol"], f"{p.get('FromPort', '*')}-{p.get('ToPort', '*')}", peer)
for k in ec2.describe_key_pairs()["KeyPairs"]:
    names[k["KeyName"]] = named(k["Tags"], k["KeyName"])
    say("key-pair", names[k["KeyName"]], k["KeyType"])


def hidden(metadata):
    return "imdsv2" if metadata.get("HttpTokens") == "required" else "imdsv1"


for i in (i for r in pages(ec2, "describe_instances", "Reservations") for i in r["Instances"]):
    if i["State"]["Name"] != "terminated":
        group = {t["Key"]: t["Value"] for t in i["Tags"]}.get("aws:autoscaling:groupName")
        kind = "scaled-instance" if group else "instance"
        own_groups = {g["GroupId"] for n in i["NetworkInterfaces"] for g in n["Groups"]}
        say(kind, named(i.get("Tags"), i["InstanceId"]), i["InstanceType"], i["State"]["Name"], "in",
            each([i["SubnetId"]]), "groups", each(own_groups | {g["GroupId"] for g in i["SecurityGroups"]}),
            *([] if group else ["key", each([i["KeyName"]] if i.get("KeyName") else [])]))


def pulled(image):
    """Whether all that an image is made of is in the registry, under digests that are right."""
    (name, digest), alike = image.split("/", 1)[1].split("@"), lambda text, of: "sha256:" + hashlib.sha256(text).hexdigest() == of
    kinds = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]
    ask = lambda what: requests.get(f"http://{REGISTRY}/v2/{name}/{what}", auth=USER, headers={"accept": ",".join(kinds)}).content
    manifest = ask(f"manifests/{digest}")
    parts = json.loads(manifest)
    blobs = [parts["config"], *parts["layers"]] if "layers" in parts else []
    whole = blobs and all(alike(ask(f"blobs/{blob['digest']}"), blob["digest"]) for blob in blobs)
    return "in-the-registry" if whole and alike(manifest, digest) else "not-in-the-registry"


for t in templates:
    name = names[t["LaunchTemplateId"]]
    version = ec2.describe_launch_template_versions(LaunchTemplateId=t["LaunchTemplateId"], Versions=["$Latest"])
    version = version["LaunchTemplateVersions"][0]
    data = version["LaunchTemplateData"]
    interfaces = [g for n in data.get("NetworkInterfaces", []) for g in n.get("Groups", [])]
    say("template", name, data["InstanceType"], hidden(data.get("MetadataOptions", {})), "groups",
        each(data.get("SecurityGroupIds", []) + interfaces),
        *("encrypted" if m["Ebs"].get("Encrypted") else "open" for m in data["BlockDeviceMappings"]),
        "key", each([data["KeyName"]] if data.get("KeyName") else []))
    say("template-version", name, version["VersionNumber"], "default", t["DefaultVersionNumber"])
    for s in data.get("TagSpecifications", []):
        # moto adds the template's own tags to those of its instances.
        if s["ResourceType"] != "launch-template":
            say("template-tags", name, s["ResourceType"], named(s["Tags"], "none"))
    script = base64.b64decode(data["UserData"]).decode()
    for image in sorted(set(re.findall(r"[^\s'\"=/]+\.amazonaws\.com/[^\s'\"]+|127\.0\.0\.1:\d+/[^\s'\"]+", script))):
        say("image", name, re.sub(r"^[^/]+/", "", re.sub(r"[0-9a-f]{64}", "<digest>", image)), pulled(image))
for g in scaling:
    say("scaling-group", names[g["AutoScalingGroupName"]], f"{g['MinSize']}/{g['DesiredCapacity']}/{g['MaxSize']}",
        g["HealthCheckType"], "over", each(g["VPCZoneIdentifier"].split(",")), "targets", each(g["TargetGroupARNs"]),
        "instances", len(g["Instances"]))
for p in asg.describe_policies()["ScalingPolicies"]:
    tracked = p["TargetTrackingConfiguration"]
    say("scaling-policy", each([p["AutoScalingGroupName"]]),
        tracked["PredefinedMetricSpecification"]["PredefinedMetricType"], tracked["TargetValue"])
for b in balancers:
    say("balancer", names[b["LoadBalancerArn"]], b["Type"], b.get("Scheme", "as-aws-wants-it"), "in",
        each(z["SubnetId"] for z in b["AvailabilityZones"]), "groups", each(b["SecurityGroups"]))
for t in targets:
    say("target-group", names[t["TargetGroupArn"]], t["Protocol"], t["Port"], "health", t["HealthCheckPort"],
        t["HealthCheckPath"])
    found = elb.describe_target_health(TargetGroupArn=t["TargetGroupArn"])["TargetHealthDescriptions"]
    for port in sorted({x["Target"]["Port"] for x in found}):
        say("targets", names[t["TargetGroupArn"]], len([x for x in found if x["Target"]["Port"] == port]), "at", port)
for l in listeners:
    say("listener", names[l["ListenerArn"]], l["Protocol"], l["Port"],
        *(f"{a['Type']} {each([g['TargetGroupArn'] for g in a.get('ForwardConfig', {}).get('TargetGroups', [])])}"
          for a in l["DefaultActions"]))
for r in rules:
    say("listener-rule", names[r["RuleArn"]], r["Priority"])
for r in pages(ecr, "describe_repositories", "repositories"):
    say("repository", named(ecr.list_tags_for_resource(resourceArn=r["repositoryArn"])["tags"], ""),
        r["repositoryName"], r["imageTagMutability"],
        "scanned" if r["imageScanningConfiguration"]["scanOnPush"] else "not-scanned")
    rules_of = json.loads(ecr.get_lifecycle_policy(repositoryName=r["repositoryName"])["lifecyclePolicyText"])["rules"]
    for rule in rules_of:
        last = rule["selection"]
        say("images-expire", r["repositoryName"], last["tagStatus"], last["countType"], last["countNumber"])
for r in pages(iam, "list_roles", "Roles", PathPrefix="/landfall/"):
    say("role", named(iam.list_role_tags(RoleName=r["RoleName"])["Tags"], r["RoleName"]))
for p in pages(iam, "list_instance_profiles", "InstanceProfiles", PathPrefix="/landfall/"):
    # Not list_instance_profile_tags, on which moto 5.2.5 fails.
    tags = iam.get_instance_profile(InstanceProfileName=p["InstanceProfileName"])["InstanceProfile"].get("Tags")
    say("profile", named(tags, p["InstanceProfileName"]), "roles", len(p["Roles"]))
for p in pages(ssm, "describe_parameters", "Parameters"):
    if p["Name"].startswith("/landfall"):
        say("parameter", p["Name"])
print("\n".join(sorted(lines)))
