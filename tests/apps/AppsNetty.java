/* AppsNetty.java - an HTTP server on Netty's event loops: "/" says hello, POST gives back what was sent
 *
 *     AppsNetty PORT LOOPS
 */
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.*;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.*;
import io.netty.util.CharsetUtil;

class AppsNetty {
	static class Handler extends SimpleChannelInboundHandler<FullHttpRequest> {
		@Override protected void channelRead0(ChannelHandlerContext ctx, FullHttpRequest req) {
			boolean post = req.method().equals(HttpMethod.POST);
			FullHttpResponse res = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK,
				post ? req.content().retain() : Unpooled.copiedBuffer("hello, netty\n", CharsetUtil.US_ASCII));
			boolean keep = HttpUtil.isKeepAlive(req);

			HttpUtil.setContentLength(res, res.content().readableBytes());
			HttpUtil.setKeepAlive(res, keep);
			ChannelFuture done = ctx.writeAndFlush(res);
			if (!keep)
				done.addListener(ChannelFutureListener.CLOSE);
		}

		@Override public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
			ctx.close();
		}
	}

	public static void main(String[] args) throws Exception {
		EventLoopGroup parent = new NioEventLoopGroup(1), loops = new NioEventLoopGroup(Integer.parseInt(args[1]));

		new ServerBootstrap().group(parent, loops).channel(NioServerSocketChannel.class)
			.option(ChannelOption.SO_BACKLOG, 1024)
			.childHandler(new ChannelInitializer<SocketChannel>() {
				@Override protected void initChannel(SocketChannel c) {
					c.pipeline().addLast(new HttpServerCodec(), new HttpObjectAggregator(8 << 20), new Handler());
				}
			}).bind("127.0.0.1", Integer.parseInt(args[0])).sync().channel().closeFuture().sync();
	}
}
