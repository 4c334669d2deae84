#!/bin/sh
# Makes NAMESPACE at TEMPORAL_ADDRESS unless it is there. A server that has only just opened its port may refuse at first.
set -eu

for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	if temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
		temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"; then
		echo "namespace $NAMESPACE is there"
		exit 0
	fi
	sleep 3
done
echo "namespace $NAMESPACE could not be made at $TEMPORAL_ADDRESS" >&2
exit 1
