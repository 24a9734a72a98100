#!/bin/sh
# A tour of moonssh against a private sshd: throw-away keys in a temporary folder, a free loopback port; all of it is gone at the end.
#
#    examples/demo.sh                             the tour
#    examples/demo.sh examples/callbacks.lua      another example that takes a destination, and maybe more
set -eu
cd "$(dirname "$0")/.."

# What was built in this folder comes before what is installed.
if [ -e build/release/moonssh/core.so ] && [ -z "${LUA_PATH_5_4:-}" ]; then
    export LUA_PATH_5_4='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH_5_4='./build/release/?.so;;'
fi

sshd=$(command -v sshd || echo /usr/sbin/sshd)
folder=$(mktemp -d)
chmod 700 "$folder"
server=
cleanup() {
    trap - EXIT INT TERM HUP
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# Run as root, sshd insists on the folder for its unprivileged half.
if [ "$(id -u)" -eq 0 ]; then
    mkdir -p /run/sshd
fi
ssh-keygen -q -t ed25519 -N '' -C demo -f "$folder/user_key"
ssh-keygen -q -t ed25519 -N '' -C host -f "$folder/host_key"
# Key options make sshd say what they are, in SSH_MSG_DEBUG: something for a callback to see.
printf 'environment="TOUR=moonssh" %s\n' "$(cat "$folder/user_key.pub")" >"$folder/authorized_keys"
printf 'Welcome to a private sshd that lives for a few seconds.\n' >"$folder/banner"

# A port that somebody took in the meantime makes sshd end at once: then try another.
port=
for attempt in 1 2 3 4 5; do
    port=$(awk -v seed="$$$attempt" 'BEGIN { srand(seed); print 20000 + int(rand() * 40000) }')
    cat >"$folder/sshd_config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $folder/host_key
AuthorizedKeysFile $folder/authorized_keys
PidFile none
Banner $folder/banner
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PermitUserEnvironment yes
PrintMotd no
X11Forwarding yes
MaxAuthTries 2
CONFIG
    "$sshd" -D -f "$folder/sshd_config" -E "$folder/log" &
    server=$!
    tick=0
    while [ $((tick += 1)) -le 600 ]; do # a minute, on a machine that is very busy
        if ! kill -0 "$server" 2>/dev/null; then
            break
        fi
        if grep -q 'Server listening' "$folder/log" 2>/dev/null; then
            break 2
        fi
        sleep 0.1
    done
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
done
if [ -z "$server" ]; then
    echo "demo: sshd did not start:" >&2
    cat "$folder/log" >&2
    exit 1
fi
printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d ' ' -f 1,2 "$folder/host_key.pub")" >"$folder/known_hosts"

colour=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    colour=yes
fi
user=$(id -un)
if [ $# -gt 0 ]; then
    script=$1
    shift
    IDENTITY=$folder/user_key KNOWN_HOSTS=$folder/known_hosts "${LUA:-lua5.4}" "$script" "$user@127.0.0.1:$port" "$@"
else
    DEMO_FOLDER=$folder DEMO_PORT=$port DEMO_USER=$user DEMO_COLOUR=$colour "${LUA:-lua5.4}" examples/demo.lua
fi
