#!/usr/bin/env bash
# Streams from a shell, with curl alone.
#
#   stream.sh start < request.json    starts a stream with the provider's request, and prints its id
#   stream.sh text ID                 its text as it comes; fails if the stream did not complete
#   stream.sh events ID [AFTER]       its events as lines of JSON, each once, over all that breaks off
#   stream.sh stop ID                 stops it for everybody
#
# TOKENCAST_URL is where the gateway is, TOKENCAST_KEY its key, if it has one.
set -euo pipefail

streams=${TOKENCAST_URL:-http://127.0.0.1:8080}/v1/streams
lines='accept: application/x-ndjson'

call() {
    curl --silent --show-error --fail --no-buffer ${TOKENCAST_KEY:+--header "tokencast-key: $TOKENCAST_KEY"} "$@"
}

start() {
    { printf '{"request":' && cat && printf '}'; } |
        call "$streams" --header 'content-type: application/json' --data-binary @- |
        sed -E 's/^\{"id":"([^"]+)".*/\1/'
}

events() {
    local id=$1 after=${2:-0} held=() line code
    while true; do
        while IFS= read -r line; do
            [[ ! $line =~ \"event\":\"(open|heartbeat|bye)\" ]] || continue
            held+=("$line")
            # What has no id comes again if the connection breaks off before the next one that has.
            [[ $line =~ ^\{\"id\":([0-9]+), ]] || continue
            after=${BASH_REMATCH[1]}
            printf '%s\n' "${held[@]}"
            held=()
            [[ $line != *'"event":"end"'* ]] || return 0
        done < <(call "$streams/$id/events?after=$after" --header "$lines" --speed-time 45 --speed-limit 1)
        code=0
        wait $! || code=$?
        # 22 is an answer that says no: asking again does not help.
        [[ $code != 22 ]] || return 22
        held=()
        sleep 1
    done
}

case ${1:-} in
    start) start ;;
    text) call "$streams/$2/text" ;;
    events) events "${@:2}" ;;
    stop) call --request DELETE "$streams/$2" ;;
    *) sed -n '3,8s/^# *//p' "$0" >&2; exit 2 ;;
esac
