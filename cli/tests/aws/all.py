"""Everything that is in the account, a line of JSON: by id, what it is and how it is. Nothing is left out for its tags,
its state or whose it is, so that what was there before can be taken off by whoever compares. Tags are not things: moto
goes on telling those of what is gone.
"""

import json
import boto3

ec2, elb, asg = (boto3.client(name) for name in ("ec2", "elbv2", "autoscaling"))
ecr, iam, ssm, logs = (boto3.client(name) for name in ("ecr", "iam", "ssm", "logs"))
found = {}


def pages(client, action, key, **asked):
    return [x for page in client.get_paginator(action).paginate(**asked) for x in page[key]]


def each(kind, things, id_key, state=lambda thing: ""):
    for thing in things:
        found[f"{kind} {thing[id_key]}"] = f"{kind} {state(thing)}".strip()


def is_in(thing):
    state = thing.get("State") or thing.get("Status") or ""
    return state.get("Name") or state.get("Code") if isinstance(state, dict) else state


for kind, action, key, id_key in [
    ("vpc", "describe_vpcs", "Vpcs", "VpcId"),
    ("internet-gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    ("subnet", "describe_subnets", "Subnets", "SubnetId"),
    ("nat-gateway", "describe_nat_gateways", "NatGateways", "NatGatewayId"),
    ("route-table", "describe_route_tables", "RouteTables", "RouteTableId"),
    ("network-acl", "describe_network_acls", "NetworkAcls", "NetworkAclId"),
    ("endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    ("security-group", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("security-group-rule", "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId"),
    ("interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("volume", "describe_volumes", "Volumes", "VolumeId"),
    ("launch-template", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    ("dhcp-options", "describe_dhcp_options", "DhcpOptions", "DhcpOptionsId"),
]:
    each(kind, pages(ec2, action, key), id_key, is_in)
for kind, things, id_key in [
    ("elastic-ip", ec2.describe_addresses()["Addresses"], "AllocationId"),
    ("key-pair", ec2.describe_key_pairs()["KeyPairs"], "KeyPairId"),
    ("profile-association", ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"],
     "AssociationId"),
]:
    each(kind, things, id_key, is_in)
each("instance", (i for r in pages(ec2, "describe_instances", "Reservations") for i in r["Instances"]), "InstanceId", is_in)

each("scaling-group", pages(asg, "describe_auto_scaling_groups", "AutoScalingGroups"), "AutoScalingGroupName")
each("scaling-policy", asg.describe_policies()["ScalingPolicies"], "PolicyARN")
balancers = pages(elb, "describe_load_balancers", "LoadBalancers")
each("balancer", balancers, "LoadBalancerArn", is_in)
each("target-group", pages(elb, "describe_target_groups", "TargetGroups"), "TargetGroupArn")
for balancer in balancers:
    listeners = pages(elb, "describe_listeners", "Listeners", LoadBalancerArn=balancer["LoadBalancerArn"])
    each("listener", listeners, "ListenerArn")
    for listener in listeners:
        each("listener-rule", elb.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"], "RuleArn")

each("repository", pages(ecr, "describe_repositories", "repositories"), "repositoryArn")
each("user", pages(iam, "list_users", "Users"), "Arn")
each("role", pages(iam, "list_roles", "Roles"), "Arn")
each("profile", pages(iam, "list_instance_profiles", "InstanceProfiles"), "Arn")
each("policy", pages(iam, "list_policies", "Policies", Scope="Local"), "Arn")
# moto creates AWS's own parameters when one is read.
parameters = [p for p in pages(ssm, "describe_parameters", "Parameters") if not p["Name"].startswith("/aws/")]
each("parameter", parameters, "Name")
each("log-group", pages(logs, "describe_log_groups", "logGroups"), "arn")
print(json.dumps(found))
