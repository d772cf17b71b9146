#!/bin/bash
# apps_redis.sh - Redis under load: BGSAVE's fork, CLIENT KILL, replication, pipelines, pub/sub, blocking pops
. "$(dirname "$(readlink -f "$0")")/apps_lib.sh"
need redis-server redis-cli redis-benchmark redis-check-rdb

cli() { # cli PORT WORDS...: never wrapped, so that what it says is the kernel's
	output redis-cli -h 127.0.0.1 -p "$@"
}

start() { # start NAME PORT OPTIONS...
	local name=$1 port=$2

	shift 2
	mkdir -p "$D/$name"
	spawn "$name" "${S[@]}" redis-server --port "$port" --bind 127.0.0.1 --dir "$D/$name" --save "" \
		--enable-debug-command local --daemonize no "$@"
	wait_port "$port" $PID
}

field() { # field PORT SECTION NAME
	cli "$1" INFO "$2" | tr -d '\r' | sed -n "s/^$3://p"
}

field_is() {
	[ "$(field "$1" "$2" "$3")" = "$4" ]
}

# requests asked for and requests the server counted; every one has to be answered
benchmark() { # benchmark PORT N OPTIONS...
	local port=$1 n=$2 got

	shift 2
	cli "$port" CONFIG RESETSTAT > /dev/null
	check "redis-benchmark $*" "${C[@]}" redis-benchmark -h 127.0.0.1 -p "$port" -n "$n" -q -t set,get -d 64 "$@"
	got=$(cli "$port" INFO commandstats | tr -d '\r' |
		sed -nE 's/^cmdstat_[gs]et:calls=([0-9]+),.*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
	[ "${got:-0}" -ge $((2 * n)) ] || fail "redis-benchmark $*: the server counted $got of $((2 * n)) requests"
}

saved() { # BGSAVE while clients write: the snapshot is whole, the clients notice nothing
	local port=$1 load before

	before=$(field "$port" persistence rdb_last_save_time)
	spawn load "${C[@]}" redis-benchmark -h 127.0.0.1 -p "$port" -n 60000 -q -t set,get -r 5000 -d 100 -c 20
	load=$PID
	cli "$port" BGSAVE > /dev/null
	until_true 60 field_is "$port" persistence rdb_bgsave_in_progress 0 || fail "BGSAVE does not end"
	same "BGSAVE" "$(field "$port" persistence rdb_last_bgsave_status)" ok
	finish $load "redis-benchmark during BGSAVE"
	check "the snapshot" redis-check-rdb "$D/master/dump.rdb"
}

# same_digest PORT PORT. What is written last comes to a replica after its writer has been answered; WAIT waits for what its
# own connection wrote, which here is nothing.
same_digest() {
	local digest

	digest=$(cli "$1" DEBUG DIGEST)
	[ -n "$digest" ] && [ "$(cli "$2" DEBUG DIGEST)" = "$digest" ]
}

replicated() {
	local port=$1 replica
	free_port
	replica=$PORT
	start replica $replica --replicaof 127.0.0.1 "$port"
	spawn load "${C[@]}" redis-benchmark -h 127.0.0.1 -p "$port" -n 40000 -q -t set,incr,lpush -r 2000 -d 200 -c 20
	until_true 60 field_is $replica replication master_link_status up || fail "the replica does not come up"
	finish "$PID" "redis-benchmark during replication"
	same "WAIT" "$(cli "$port" WAIT 1 40000)" 1
	until_true 60 same_digest "$port" $replica || fail "the replica differs"
	# a link that is cut comes back and catches up
	cli "$port" CLIENT KILL TYPE replica > /dev/null
	benchmark "$port" 5000 -c 10 -r 1000
	until_true 60 field_is $replica replication master_link_status up || fail "the replica does not come back"
	same "WAIT" "$(cli "$port" WAIT 1 40000)" 1
	until_true 60 same_digest "$port" $replica || fail "the replica differs after it came back"
	cli $replica SHUTDOWN NOSAVE > /dev/null
}

redis() {
	local port master test

	free_port
	port=$PORT
	start master $port || return
	master=${PIDS[0]}
	check "client" "${C[@]}" "$PYTHON" "$APPS/apps_redis.py" $port values pipeline pubsub blocking kill churn transaction
	benchmark $port 20000 -c 50
	benchmark $port 20000 -c 50 -P 16
	benchmark $port 3000 -c 1
	benchmark $port 10000 -c 20 --threads 2
	benchmark $port 2000 -c 20 -k 0
	saved $port
	replicated $port
	# mass insertion through a pipe
	seq 1 20000 | awk '{ v = "value " $1; printf "*3\r\n$3\r\nSET\r\n$%d\r\nm%s\r\n$%d\r\n%s\r\n", length($1) + 1, $1, length(v), v }' > "$D/mass"
	timeout 60 "${C[@]}" redis-cli -h 127.0.0.1 -p $port --pipe < "$D/mass" > "$D/pipe.log" 2>&1
	grep -q 'errors: 0, replies: 20000' "$D/pipe.log" || fail "redis-cli --pipe: $(tail -n 1 "$D/pipe.log")"
	same "one of the inserted values" "$(cli $port GET m19999)" "value 19999"
	"${C[@]}" redis-cli -h 127.0.0.1 -p $port SHUTDOWN NOSAVE > /dev/null 2>&1
	until_true 60 ended "$master" || fail "SHUTDOWN does not end the server"
	wait "$master"
	same "exit code of the server" $? 0
}

matrix redis
