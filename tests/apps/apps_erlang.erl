%% apps_erlang.erl - an echo server and its client on the Erlang virtual machine
%%
%%   escript apps_erlang.erl server PORT     echoes; one process a connection, each in the mode that its client asks for
%%   escript apps_erlang.erl client PORT     checks every answer; ends with 0 when all are right
-mode(compile).

-define(CLIENTS, 24).
-define(ROUNDS, 150).
-define(WAIT, 60000).

main(["server", Port]) ->
    {ok, Listener} = gen_tcp:listen(list_to_integer(Port),
        [binary, {ip, {127, 0, 0, 1}}, {packet, 4}, {active, false}, {nodelay, true}, {reuseaddr, true},
         {backlog, 64}]),
    accept(Listener);
main(["client", Port]) ->
    Parent = self(),
    [spawn_link(fun() -> Parent ! {done, talk(list_to_integer(Port), N)} end) || N <- lists:seq(1, ?CLIENTS)],
    Bytes = lists:sum([receive {done, B} -> B after 3 * ?WAIT -> halt(1) end || _ <- lists:seq(1, ?CLIENTS)]),
    true = Bytes > 0.

%% The acceptor hands each connection to a process of its own.
accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> first(Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener).

first(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, <<"passive">>} -> passive(Socket);
        {ok, <<"once">>} -> once(Socket);
        {ok, <<"many">>} ->
            ok = inet:setopts(Socket, [{active, 10}]),
            many(Socket)
    end.

passive(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            ok = gen_tcp:send(Socket, Data),
            passive(Socket);
        {error, closed} -> ok
    end.

once(Socket) ->
    ok = inet:setopts(Socket, [{active, once}]),
    receive
        {tcp, Socket, Data} ->
            ok = gen_tcp:send(Socket, Data),
            once(Socket);
        {tcp_closed, Socket} -> ok
    end.

many(Socket) ->
    receive
        {tcp, Socket, Data} ->
            ok = gen_tcp:send(Socket, Data),
            many(Socket);
        {tcp_passive, Socket} ->
            ok = inet:setopts(Socket, [{active, 10}]),
            many(Socket);
        {tcp_closed, Socket} -> ok
    end.

%% Requests of many sizes; some clients send several before they read.
talk(Port, N) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {packet, 4}, {active, false}, {nodelay, true}]),
    ok = gen_tcp:send(Socket, lists:nth(1 + N rem 3, [<<"passive">>, <<"once">>, <<"many">>])),
    Bytes = lists:sum([exchange(Socket, N, Round) || Round <- lists:seq(1, ?ROUNDS)]),
    ok = gen_tcp:shutdown(Socket, write),
    {error, closed} = gen_tcp:recv(Socket, 0, ?WAIT),
    Bytes.

exchange(Socket, N, Round) ->
    Sent = [message(N, Round, I) || I <- lists:seq(1, 1 + N rem 4)],
    [ok = gen_tcp:send(Socket, M) || M <- Sent],
    Got = [begin {ok, M} = gen_tcp:recv(Socket, 0, ?WAIT), M end || _ <- Sent],
    Sent = Got,
    iolist_size(Got).

message(N, Round, I) ->
    Size = case Round rem 50 of 0 -> 100000; _ -> (Round * 37 + N * 11 + I) rem 4000 end,
    binary:copy(<<(N + Round + I)>>, Size).
