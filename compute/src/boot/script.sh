
# What an instance does when it boots for the first time: it finds or installs a container engine, pulls the image,
# reads the secrets and starts the container. It may be run again: what is there already is used, and the
# container is made anew.
#
# On every later boot, and when the container ends, the engine starts it again by its own restart policy, from what
# is on the instance: neither needs the network or this script.

set -euo pipefail
umask 077

# The instance's own service; the variable is the AWS SDKs'.
metadata_service=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
container=landfall
answer=

# This goes to the serial console, where cloud-init tells the host keys too: a line that quotes an engine or a container
# begins as this script's own do.
say() {
  local text=$*
  text=${text//[[:cntrl:]]/ }
  printf 'landfall: %s\n' "${text:0:2000}"
}

# What comes in, marked and cut.
quote() {
  tr -d '\000-\010\013-\037\177' | sed -E 's/^(.{500}).*/\1/; s/^/landfall: | /'
}

# Whoever reads the console takes these words for the end.
fail() {
  say "gave up: $*"
  exit 1
}

# retry WHAT SECONDS COMMAND...: runs it until it succeeds, and leaves its output in `answer`. The NAT gateway may
# still be pending, and the instance's role not be known everywhere; what trying again cannot mend ends it at once.
retry() {
  local what=$1 deadline=$((SECONDS + $2)) pause=1 problem
  shift 2
  until answer=$("$@" 2>"$work/problem"); do
    problem=$(tr -s '\n' ' ' <"$work/problem")
    case $problem in
      *"manifest unknown"* | *"not found"* | *"no matching manifest"* | *NotFound* | *"ValidationException"*)
        fail "$what failed: $problem"
        ;;
    esac
    if ((SECONDS >= deadline)); then
      fail "$what failed, and there is no more time to try: $problem"
    fi
    say "$what failed, trying again in $pause s: $problem"
    sleep "$pause"
    pause=$((pause < 16 ? pause * 2 : 16))
  done
}

metadata() {
  local token
  token=$(curl --fail --silent --show-error --max-time 5 --request PUT \
    --header 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata_service/latest/api/token")
  curl --fail --silent --show-error --max-time 5 \
    --header "X-aws-ec2-metadata-token: $token" "$metadata_service/latest/meta-data/$1"
}

# Finds an engine, or installs Docker. Then sees to it that it runs, now and after every boot.
start_engine() {
  local unit
  if ! engine=$(command -v docker || command -v podman); then
    command -v dnf >/dev/null || fail "there is no docker, no podman, and no dnf to install one with"
    retry 'installing docker' 600 dnf install --assumeyes --quiet docker
    engine=$(command -v docker)
  fi
  case $engine in
    */podman) unit=podman-restart.service ;;
    *) unit=docker.service ;;
  esac
  if [ -d /run/systemd/system ]; then
    retry "starting $unit" 120 systemctl enable --now "$unit"
  fi
  retry "waiting for $engine" 60 "$engine" info
}

log_in() {
  printf '%s' "$password" | "$engine" login --username AWS --password-stdin "$registry"
}

# Pulls the image, with the instance's own role. By its digest it cannot be another one than was meant, so one that
# is there need not be asked for.
pull() {
  local registry=${image%%/*} password
  if "$engine" image inspect "$image" >/dev/null 2>&1; then
    return
  fi
  case $registry in
    *.* | *:*)
      need_aws 'to log in to the registry'
      retry 'asking for the registry password' 600 \
        aws ecr get-login-password --region "$registry_region"
      password=$answer
      retry "logging in to $registry" 300 log_in
      ;;
  esac
  retry "pulling $image" 600 "$engine" pull --quiet "$image"
}

need_aws() {
  command -v aws >/dev/null || fail "there is no aws command $1; Amazon Linux 2023 has it"
}

# The value under a key of a JSON object: text as it is, anything else as JSON.
json_value='
import json, sys
value = json.load(sys.stdin)[sys.argv[1]]
sys.stdout.write(value if isinstance(value, str) else json.dumps(value))
'

# read_secret STORE NAME KEY: leaves the value in `answer`. It is never printed.
read_secret() {
  need_aws 'to read secrets'
  case $1 in
    ssm)
      retry "reading the parameter $2" 120 aws ssm get-parameter --region "$region" \
        --name "$2" --with-decryption --query Parameter.Value --output text
      ;;
    secretsmanager)
      retry "reading the secret $2" 120 aws secretsmanager get-secret-value --region "$region" \
        --secret-id "$2" --query SecretString --output text
      ;;
  esac
  if [ -n "$3" ]; then
    command -v python3 >/dev/null || fail "there is no python3 to find the key $3 of $2 with"
    answer=$(printf '%s' "$answer" | python3 -c "$json_value" "$3" 2>/dev/null) ||
      fail "$2 is no JSON object with a key $3"
  fi
}

# Puts the secrets into a file that only root can read, and that is gone when the container has started; the
# command line is for all to see. That file has a line for each, so what has several goes by the environment.
read_secrets() {
  local index name
  : >"$work/secrets"
  long_secrets=()
  for ((index = 0; index < ${#secrets[@]}; index += 4)); do
    name=${secrets[index]}
    read_secret "${secrets[index + 1]}" "${secrets[index + 2]}" "${secrets[index + 3]}"
    case $answer in
      *$'\n'*)
        case $name in
          PATH | HOME | UID | EUID | PPID | SHELLOPTS | BASH* | LD_* | XDG_* | *_proxy | *_PROXY | DOCKER_* | CONTAINER* | REGISTRY_*)
            fail "the secret $name has several lines, and the engine reads that variable: rename it"
            ;;
        esac
        long_secrets+=("$name" "$answer")
        environment+=(--env "$name")
        ;;
      *) printf '%s=%s\n' "$name" "$answer" >>"$work/secrets" ;;
    esac
  done
}

# with_secrets NAME VALUE... -- COMMAND...: uses no variable, so that a secret may have the name of any.
with_secrets() (
  until [ "$1" = -- ]; do
    # An array would not be exported.
    unset -v "$1"
    export "$1=$2"
    shift 2
  done
  shift
  exec "$@"
)

# A bridge and a published port rather than the instance's own network: from behind a bridge the container cannot
# reach the metadata service, and with it the instance's role.
start_container() {
  local problem
  "$engine" rm --force "$container" >/dev/null 2>&1 || true
  if ! problem=$(with_secrets "${long_secrets[@]}" -- "$engine" run --detach --name "$container" --restart always \
    --publish "$port:$port" --security-opt no-new-privileges "${limits[@]}" "${init[@]}" "${logging[@]}" \
    --env "PORT=$port" --env "LANDFALL_INSTANCE_ID=$instance" --env "LANDFALL_ZONE=$zone" \
    --env-file "$work/secrets" "${environment[@]}" "$image" 2>&1); then
    fail "the container does not start: $problem"
  fi
}

# Looks whether the container stays up for a while, and tells its last lines if it does not.
watch_container() {
  local deadline=$((SECONDS + 10)) status restarts code why='it was started again and again'
  while ((SECONDS < deadline)); do
    read -r status restarts code < <("$engine" inspect \
      --format '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}' "$container")
    if [ "$status" != running ]; then
      why="it ended with code $code"
      restarts=1
      break
    fi
    sleep 0.5
  done
  if ((restarts > 0)); then
    say "the container failed: $why; its last lines:"
    "$engine" logs --tail 20 "$container" 2>&1 | quote
    exit 1
  fi
}

work=$(mktemp --directory /run/landfall-boot.XXXXXX)
trap 'rm -rf "$work"' EXIT
# cloud-init gives no home directory, and a password is not to stay on the disk.
export DOCKER_CONFIG=$work/docker REGISTRY_AUTH_FILE=$work/auth.json
# Podman takes a file that is not there for a mistake.
printf '{}' >"$REGISTRY_AUTH_FILE"

retry 'asking who this instance is' 60 metadata instance-id
instance=$answer
retry 'asking where this instance is' 60 metadata placement/availability-zone
zone=$answer
logging=(--log-opt max-size=10m --log-opt max-file=3)
if [ -n "$log_group" ]; then
  # Otherwise the container would not start, and not be tried again, when CloudWatch Logs is out of reach as the
  # instance boots, and would stand still when it is later. What does not fit into the buffer is lost there.
  logging=(--log-driver awslogs --log-opt "awslogs-region=$region" --log-opt "awslogs-group=$log_group"
    --log-opt "awslogs-stream=$instance" --log-opt awslogs-create-group=true
    --log-opt mode=non-blocking --log-opt max-buffer-size=10m)
fi
start_engine
pull
read_secrets
start_container
watch_container
say "$image runs on port $port"
