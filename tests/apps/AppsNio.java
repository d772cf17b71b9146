/* AppsNio.java - Java NIO: a selector server that echoes, and clients of three kinds that check every byte
 *
 *     AppsNio server PORT SELECTORS      one thread accepts, SELECTORS threads serve what it hands them
 *     AppsNio client PORT
 */
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.util.*;
import java.util.concurrent.*;

class AppsNio {
	static final int[] SIZES = { 1, 64, 100, 1000, 16384, 65536, 300000, 1000000 };

	/** One thread with a selector; connections are handed to it by another thread. */
	static class Loop extends Thread {
		final Selector selector = Selector.open();
		final Queue<SocketChannel> fresh = new ConcurrentLinkedQueue<>();

		Loop() throws IOException {
			setDaemon(true);
		}

		void hand(SocketChannel c) {
			fresh.add(c);
			selector.wakeup();
		}

		@Override public void run() {
			try {
				while (true) {
					selector.select();
					for (SocketChannel c; (c = fresh.poll()) != null; )
						c.configureBlocking(false).register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
					for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext(); ) {
						SelectionKey key = i.next();
						i.remove();
						serve(key);
					}
				}
			} catch (IOException e) {
				e.printStackTrace();
				System.exit(1);
			}
		}

		/** What was read and could not be written yet stays in the buffer; reading stops until it is gone. */
		void serve(SelectionKey key) throws IOException {
			SocketChannel c = (SocketChannel) key.channel();
			ByteBuffer b = (ByteBuffer) key.attachment();

			try {
				int n = key.isReadable() ? c.read(b) : 0;

				b.flip();
				if (b.hasRemaining())
					c.write(b);
				boolean left = b.hasRemaining();
				b.compact();
				if (n < 0 && !left)
					c.close();
				else
					key.interestOps(left ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
			} catch (IOException e) {
				c.close();
			}
		}
	}

	static void server(int port, int selectors) throws IOException {
		List<Loop> loops = new ArrayList<>();
		ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", port));

		for (int i = 0; i < selectors; i++) {
			loops.add(new Loop());
			loops.get(i).start();
		}
		for (int i = 0; ; i++)
			loops.get(i % selectors).hand(listener.accept());
	}

	static byte[] bytes(int seed, int size) {
		byte[] b = new byte[size];

		new Random(seed).nextBytes(b);
		return b;
	}

	static void expect(byte[] got, byte[] want, String what) {
		if (!Arrays.equals(got, want))
			throw new IllegalStateException(what + ": wrong bytes");
	}

	/** java.net: streams, one thread writes while the other reads, half-close at the end. */
	static void streams(int port, int seed) throws Exception {
		try (Socket s = new Socket("127.0.0.1", port)) {
			ByteArrayOutputStream all = new ByteArrayOutputStream();

			s.setTcpNoDelay(true);
			for (int i = 0; i < 24; i++)
				all.write(bytes(seed * 100 + i, SIZES[i % SIZES.length]));
			Thread writer = new Thread(() -> {
				try {
					for (int i = 0; i < 24; i++)
						s.getOutputStream().write(bytes(seed * 100 + i, SIZES[i % SIZES.length]));
					s.shutdownOutput();
				} catch (IOException e) {
					e.printStackTrace();
				}
			});
			writer.start();
			expect(s.getInputStream().readAllBytes(), all.toByteArray(), "streams");
			writer.join();
		}
	}

	/** A blocking SocketChannel: ping-pong with gathering writes and scattering reads. */
	static void channel(int port, int seed) throws Exception {
		try (SocketChannel c = SocketChannel.open(new InetSocketAddress("127.0.0.1", port))) {
			for (int i = 0; i < 300; i++) {
				byte[] want = bytes(seed + i, SIZES[i % 5]), got = new byte[want.length];
				int half = want.length / 2;
				ByteBuffer[] out = { ByteBuffer.wrap(want, 0, half), ByteBuffer.wrap(want, half, want.length - half) };
				ByteBuffer[] in = { ByteBuffer.wrap(got, 0, half), ByteBuffer.wrap(got, half, got.length - half) };

				while (out[1].hasRemaining())
					c.write(out);
				while (in[1].hasRemaining())
					if (c.read(in) < 0)
						throw new EOFException("channel");
				expect(got, want, "channel");
			}
		}
	}

	/** AsynchronousSocketChannel: its own pool of threads waits in epoll with one-shot registrations. */
	static void asynchronous(int port, int seed) throws Exception {
		try (AsynchronousSocketChannel c = AsynchronousSocketChannel.open()) {
			c.connect(new InetSocketAddress("127.0.0.1", port)).get(60, TimeUnit.SECONDS);
			for (int i = 0; i < 100; i++) {
				byte[] want = bytes(seed + i, SIZES[i % 7]), got = new byte[want.length];
				ByteBuffer out = ByteBuffer.wrap(want), in = ByteBuffer.wrap(got);
				Future<Integer> read = c.read(in);

				while (out.hasRemaining())
					c.write(out).get(60, TimeUnit.SECONDS);
				while (read.get(60, TimeUnit.SECONDS) >= 0 && in.hasRemaining())
					read = c.read(in);
				expect(got, want, "asynchronous");
			}
		}
	}

	/** Closing a socket that another thread is blocked on wakes that thread. */
	static void closed(int port) throws Exception {
		Socket s = new Socket("127.0.0.1", port);

		for (int i = 0; i < 20; i++) {
			s.getOutputStream().write(i);
			if (s.getInputStream().read() != i)
				throw new IllegalStateException("closed: wrong byte");
		}
		Future<?> reader = Executors.newSingleThreadExecutor(r -> {
			Thread t = new Thread(r);
			t.setDaemon(true);
			return t;
		}).submit(() -> s.getInputStream().read());
		Thread.sleep(100);
		s.close();
		try {
			reader.get(60, TimeUnit.SECONDS);
			throw new IllegalStateException("read of a closed socket returned");
		} catch (ExecutionException e) {
			if (!(e.getCause() instanceof SocketException))
				throw e;
		}
	}

	interface Kind {
		void run(int port, int seed) throws Exception;
	}

	static void client(int port) throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(12);
		List<Future<?>> jobs = new ArrayList<>();
		Kind[] kinds = { AppsNio::streams, AppsNio::channel, AppsNio::asynchronous };

		for (int i = 0; i < 24; i++) {
			final int seed = i;
			jobs.add(pool.submit(() -> {
				kinds[seed % 3].run(port, seed);
				return null;
			}));
		}
		for (Future<?> job : jobs)
			job.get(60, TimeUnit.SECONDS);
		pool.shutdown();
		closed(port);
		System.out.println(jobs.size() + " clients ok");
	}

	public static void main(String[] args) throws Exception {
		if (args[0].equals("server"))
			server(Integer.parseInt(args[1]), Integer.parseInt(args[2]));
		else
			client(Integer.parseInt(args[1]));
	}
}
