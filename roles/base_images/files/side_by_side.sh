#!/usr/bin/env bash
# side_by_side.sh BUILD [NAME OFFICIAL SUITE VERSION REFERENCE]...: runs BUILD for each five arguments, all at once.
set -Eeuo pipefail

build=$1
shift
pids=() result=0
while (($# >= 5)); do
  "$build" "${@:1:5}" &
  pids+=("$!")
  shift 5
done
for pid in "${pids[@]}"; do
  wait "$pid" || result=1
done
exit "$result"
