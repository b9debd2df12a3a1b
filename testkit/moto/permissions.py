"""What moto 5.2 leaves out when it evaluates IAM policies: which resource a call is about, which other actions it
needs, and the words that each service has for a refusal. moto itself takes every resource for `*`, and checks the
signature of a form as boto3 would have written it.

Resources and other actions are those of
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import io
import json
import threading

from moto.iam.access_control import IAMRequest
from moto.iam.exceptions import NotFoundException
from moto.utilities.utils import get_partition
from werkzeug.exceptions import HTTPException

evaluate, verify = IAMRequest.check_action_permitted, IAMRequest.check_signature
# The request that this thread is answering.
current = threading.local()


def keeping_bodies(application):
    """The application, with the bytes that were signed at hand: moto forgets those of a form."""

    def serve(environ, start):
        current.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(current.body)
        return application(environ, start)

    return serve


def check_signature(self):
    self._body = current.body
    verify(self)


def check_action_permitted(self, _):
    own = self._action
    for action, resource in needed(self, *own.split(":")):
        # moto names the refused action in this field.
        self._action, self._resource = action, resource
        evaluate(self, resource)
    self._action = own


def needed(request, service, action):
    """The actions that a call needs, each with its resource; its own is the first."""
    form = {key: value[0] for key, value in (request._data or {}).items() if value}
    if service in ("ssm", "ecr"):
        form = json.loads(request._body or b"{}")
    tagged = any(key.startswith(("TagSpecification.", "Tags.")) for key in form) or bool(form.get("Tags"))
    rules = {"ec2": of_ec2, "elasticloadbalancing": of_elb, "autoscaling": of_autoscaling,
             "iam": of_iam, "ssm": of_ssm, "ecr": of_ecr}
    rule = rules.get(service, lambda *_: [(f"{service}:{action}", "*")])
    return rule(request, action, form, tagged)


def of_ec2(request, action, form, tagged):
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    return [(f"ec2:{action}", "*")] + ([("ec2:CreateTags", "*")] if tagged else [])


def of_elb(request, action, form, tagged):
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html
    all = [(f"elasticloadbalancing:{action}", "*")] + ([("elasticloadbalancing:AddTags", "*")] if tagged else [])
    if action == "CreateLoadBalancer":
        all.append(service_linked(request, "elasticloadbalancing", "ElasticLoadBalancing"))
    return all


def of_autoscaling(request, action, form, tagged):
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    all = [(f"autoscaling:{action}", "*")]
    if action == "CreateAutoScalingGroup":
        all += [("autoscaling:CreateOrUpdateTags", "*")] if tagged else []
        all += [("ec2:RunInstances", "*"), ("ec2:CreateTags", "*"), service_linked(request, "autoscaling", "AutoScaling")]
    return all


def of_iam(request, action, form, tagged):
    profile, role = form.get("InstanceProfileName"), form.get("RoleName")
    if profile:
        resource = entity(request, "instance-profile", profile, form, request.backend.get_instance_profile)
    elif role:
        resource = entity(request, "role", role, form, request.backend.get_role)
    else:
        resource = "*"
    all = [(f"iam:{action}", resource)]
    if tagged:
        all.append((f"iam:Tag{action.removeprefix('Create')}", resource))
    if action == "AddRoleToInstanceProfile":
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
        all.append(("iam:PassRole", entity(request, "role", role, {}, request.backend.get_role)))
    return all


def of_ssm(request, action, form, tagged):
    name = form.get("Name", "*")
    # Resources that AWS publishes belong to no account.
    account = "" if name.startswith("/aws/") else request.account_id
    resource = arn(request, "ssm", f"parameter{name}", account)
    # https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    return [(f"ssm:{action}", resource)] + ([("ssm:AddTagsToResource", resource)] if tagged else [])


def of_ecr(request, action, form, tagged):
    if action == "GetAuthorizationToken":
        return [("ecr:GetAuthorizationToken", "*")]
    if action == "ListTagsForResource":
        return [("ecr:ListTagsForResource", form["resourceArn"])]
    named = form.get("repositoryNames") or [form.get("repositoryName", "*")]
    resources = [arn(request, "ecr", f"repository/{name}", request.account_id) for name in named]
    # https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
    tags = [("ecr:TagResource", one) for one in resources] if form.get("tags") else []
    return [(f"ecr:{action}", one) for one in resources] + tags


def entity(request, kind, name, form, find):
    """A role or profile. Where there is none of that name, its path is not known and it has no ARN: AWS then writes
    `on resource: role NAME`, and nothing but `*` allows that."""
    if "Path" in form:
        return arn(request, "iam", f"{kind}{form['Path']}{name}", request.account_id, region="")
    try:
        return find(name).arn
    except NotFoundException:
        return f"{kind.replace('-', ' ')} {name}"


def service_linked(request, service, name):
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/create-service-linked-role.html
    role = f"role/aws-service-role/{service}.amazonaws.com/AWSServiceRoleFor{name}"
    return "iam:CreateServiceLinkedRole", arn(request, "iam", role, request.account_id, region="")


def arn(request, service, resource, account, region=None):
    region = request._region if region is None else region
    return f"arn:{get_partition(request._region)}:{service}:{region}:{account}:{resource}"


class Refused(HTTPException):
    """As the service words it: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"""

    def __init__(self, service, who, action, resource):
        why = (f"User: {who} is not authorized to perform: {action} on resource: {resource} "
               f"because no identity-based policy allows the {action} action")
        self.code = 403
        if service == "ec2":
            text = (f"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized to "
                    f"perform this operation. {why}</Message></Error></Errors><RequestID>0</RequestID></Response>")
        elif service in ("ssm", "ecr"):
            self.code = 400
            text = json.dumps({"__type": "AccessDeniedException", "message": why})
        else:
            text = (f"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{why}</Message>"
                    f"</Error><RequestId>0</RequestId></ErrorResponse>")
        super().__init__(text)


def raise_access_denied(self):
    raise Refused(self._service, self._access_key.arn, self._action, self._resource)


def complete(application):
    """Puts all of it into moto, and gives its application with what that takes."""
    IAMRequest.check_signature = check_signature
    IAMRequest.check_action_permitted = check_action_permitted
    IAMRequest._raise_access_denied = raise_access_denied
    return keeping_bodies(application)
