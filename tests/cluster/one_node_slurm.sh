#!/usr/bin/env bash
# A real Slurm of one node on this machine, for `make test-cluster`. Debian, as root.
#
#   one_node_slurm.sh start    installs from Debian what is missing, starts munged, slurmctld and slurmd, waits for the node
#   one_node_slurm.sh status   the node and its jobs
#   one_node_slurm.sh stop     ends its jobs and daemons, and takes its configuration away
#
# It touches no other Slurm: where one runs or is configured, start refuses. Munge, its socket and its key are its own.
# It listens on 127.0.0.1 alone where that is the address of the machine's name. Elsewhere Slurm cannot be told to; who
# connects from another machine is then refused for want of the key.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin # where Debian puts daemons

RUN=/run/eps-resnet-slurm # all it writes but the configuration, which jobs look for at one place only
CONFIGURATION=/etc/slurm/slurm.conf
CARDS=/etc/slurm/gres.conf
MARK="# Written by eps-resnet's one_node_slurm.sh, which removes it by 'stop'."
SECONDS_TO_WAIT=60

fail() {
    echo "one_node_slurm.sh: $*" >&2
    exit 1
}

is_ours() { head -n 1 "$CONFIGURATION" 2> /dev/null | grep -qxF "$MARK"; }

# Waits until a command succeeds; fails if it does not in time.
wait_until() {
    local end=$((SECONDS + SECONDS_TO_WAIT))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

refuse_another_slurm() {
    [ "$(id -u)" = 0 ] || fail "needs root, to install and start Slurm; this is $(id -un)."
    if [ -e "$CONFIGURATION" ]; then
        is_ours && fail "it runs already, or was killed; give 'stop' first."
        fail "$CONFIGURATION is there: this machine has a Slurm of its own, which is left alone. Nothing was changed."
    fi
    local daemon
    for daemon in slurmctld slurmd; do
        if pgrep -x "$daemon" > /dev/null; then
            fail "a $daemon runs here (process $(pgrep -x "$daemon" | paste -sd ' ')), which is left alone. Nothing was changed."
        fi
    done
}

install_what_is_missing() {
    command -v slurmctld slurmd squeue munged > /dev/null && return
    command -v apt-get > /dev/null || fail "needs slurmctld, slurmd, squeue and munged; install them (no apt-get here)."
    echo "Installing slurmctld, slurmd, slurm-client and munge"
    apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            slurmctld slurmd slurm-client munge > /dev/null ||
        fail "apt-get could not install slurmctld, slurmd, slurm-client and munge."
}

# The two cards are empty files: Slurm counts them and gives them to jobs, but no GPU is there.
# cred_expire is also how long a requeued job waits before it starts again. Jobs of `urgent` preempt those of `main`.
write_configuration() {
    local host only memory
    host=$(uname -n)
    host=${host%%.*}
    only=
    if getent hosts "$host" | grep -q '^127\.0\.0\.1 '; then
        only=CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
    fi
    memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.8)}' /proc/meminfo)
    mkdir -p "$(dirname "$CONFIGURATION")"
    touch "$RUN"/card{0,1}
    echo "Name=gpu Type=standin File=$RUN/card[0-1]" > "$CARDS"
    cat > "$CONFIGURATION" << CONF
$MARK
ClusterName=eps-resnet
SlurmctldHost=$host(127.0.0.1)
$only
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$RUN/munge.socket,cred_expire=10
StateSaveLocation=$RUN/state
SlurmdSpoolDir=$RUN/spool
SlurmctldLogFile=$RUN/slurmctld.log
SlurmdLogFile=$RUN/slurmd.log
SlurmctldPidFile=$RUN/slurmctld.pid
SlurmdPidFile=$RUN/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory Gres=gpu:standin:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=2
CONF
}

start() {
    refuse_another_slurm
    install_what_is_missing
    rm -rf "$RUN"
    mkdir -p "$RUN"/{state,spool}
    write_configuration
    trap 'tail -n 20 "$RUN"/*.log >&2; stop; fail "it did not start; its logs are above."' ERR
    (umask 077 && head -c 1024 /dev/urandom > "$RUN/munge.key")
    munged --force --socket="$RUN/munge.socket" --key-file="$RUN/munge.key" --pid-file="$RUN/munged.pid" \
        --log-file="$RUN/munged.log" --seed-file="$RUN/munge.seed"
    slurmctld
    slurmd
    wait_until node_is_idle
    trap - ERR
    status
}

node_is_idle() { [ "$(sinfo --noheader --partition=main --format=%T 2> /dev/null)" = idle ]; }
no_job_is_left() { [ -z "$(squeue --noheader 2> /dev/null)" ]; }
is_gone() { ! kill -0 "$1" 2> /dev/null; }

status() {
    is_ours || fail "it does not run."
    sinfo
    squeue
}

# The process of a pid file, if it is the daemon that start began and not another that has its number by now.
process_of() {
    local pid
    pid=$(cat "$RUN/$1.pid" 2> /dev/null) && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$1" ] && echo "$pid"
}

# Processes of jobs that outlived them: without cgroups, Slurm loses hold of what its parent left behind.
leftovers() { grep -lzxF SLURM_CLUSTER_NAME=eps-resnet /proc/[0-9]*/environ 2> /dev/null | cut -d / -f 3; }

stop() {
    if ! is_ours; then
        echo "It does not run."
        return
    fi
    if process_of slurmctld > /dev/null; then
        scancel --user=root || true
        wait_until no_job_is_left || echo "Jobs are still there: $(squeue --noheader --format=%i | paste -sd ' ')" >&2
    fi
    local daemon pid
    for daemon in slurmd slurmctld munged; do
        if pid=$(process_of "$daemon"); then
            kill "$pid"
            wait_until is_gone "$pid" || kill -KILL "$pid"
        fi
    done
    for pid in $(leftovers); do
        kill -KILL "$pid" 2> /dev/null || true
    done
    rm -rf "$RUN" "$CARDS" "$CONFIGURATION"
}

case ${1:-} in
    start | stop | status) "$1" ;;
    *)
        sed -n '2,10s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
