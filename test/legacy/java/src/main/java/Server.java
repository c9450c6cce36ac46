// CometD's Java server on Jetty, with what the conversations of our client ask of a server (test/client/interop/).
//
// Usage: java -cp driver.jar Server <timeout of a held connect, ms> <maxSessionsPerBrowser>
// Says {"port":n} once it listens at /cometd, on WebSocket, long-polling and callback-polling, to pages of any origin. Answers each line
// of stdin with {"sessions":n}; the end of stdin ends it. Its other options are CometD's defaults; above all, trustClientSession is off.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.EnumSet;
import java.util.Map;

import jakarta.servlet.DispatcherType;
import org.cometd.annotation.Service;
import org.cometd.annotation.server.RemoteCall;
import org.cometd.annotation.server.ServerAnnotationProcessor;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.CometDServlet;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.TimesyncExtension;
import org.cometd.server.http.JSONPTransport;
import org.cometd.server.http.JSONTransport;
import org.cometd.server.websocket.javax.WebSocketTransport;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.FilterHolder;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.servlets.CrossOriginFilter;
import org.eclipse.jetty.websocket.jakarta.server.config.JakartaWebSocketServletContainerInitializer;

public final class Server {
    public static void main(String[] args) throws Exception {
        org.eclipse.jetty.server.Server server = new org.eclipse.jetty.server.Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        server.addConnector(connector);

        ServletContextHandler context = new ServletContextHandler(server, "/");
        JakartaWebSocketServletContainerInitializer.configure(context, null);
        FilterHolder origins = context.addFilter(CrossOriginFilter.class, "/cometd/*", EnumSet.of(DispatcherType.REQUEST));
        origins.setAsyncSupported(true); // by default it allows every origin, with its cookies
        ServletHolder cometd = new ServletHolder(CometDServlet.class);
        cometd.setInitParameter(BayeuxServerImpl.TRANSPORTS_OPTION,
            WebSocketTransport.class.getName() + "," + JSONTransport.class.getName() + "," + JSONPTransport.class.getName());
        cometd.setInitParameter("ws.cometdURLMapping", "/cometd/*");
        cometd.setInitParameter("timeout", args[0]);
        cometd.setInitParameter("maxSessionsPerBrowser", args[1]);
        cometd.setInitOrder(1);
        cometd.setAsyncSupported(true);
        context.addServlet(cometd, "/cometd/*");
        server.start();

        BayeuxServerImpl bayeux = (BayeuxServerImpl)context.getServletContext().getAttribute(BayeuxServer.ATTRIBUTE);
        bayeux.addExtension(new AcknowledgedMessagesExtension());
        bayeux.addExtension(new TimesyncExtension());
        bayeux.setSecurityPolicy(new Policy());
        serve(bayeux);
        System.out.println("{\"port\":" + connector.getLocalPort() + "}");

        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        while (requests.readLine() != null) {
            System.out.println("{\"sessions\":" + bayeux.getSessions().stream().filter(session -> !session.isLocalSession()).count() + "}");
        }
        Runtime.getRuntime().halt(0);
    }

    private static void serve(BayeuxServerImpl bayeux) {
        new ServerAnnotationProcessor(bayeux).process(new Calls());
        listen(bayeux, "/service/answer", (from, message) -> from.deliver(null, "/service/answer", message.getData(), Promise.noop()));
        listen(bayeux, "/service/say", (from, message) -> {
            Map<String, Object> data = message.getDataAsMap();
            bayeux.createChannelIfAbsent((String)data.get("channel")).getReference().publish(null, data.get("data"), Promise.noop());
        });
        listen(bayeux, "/service/end", (from, message) -> {
            Map<String, Object> data = message.getDataAsMap();
            ServerSession session = bayeux.getSession((String)data.get("clientId"));
            if (data.get("how").equals("kick")) session.disconnect();
            else bayeux.removeServerSession(session, true); // as the sweep does with one that expired
        });
    }

    @FunctionalInterface
    private interface Listener {
        void heard(ServerSession from, ServerMessage message);
    }

    private static void listen(BayeuxServer bayeux, String channel, Listener listener) {
        bayeux.createChannelIfAbsent(channel).getReference().addListener(new ServerChannel.MessageListener() {
            @Override
            public boolean onMessage(ServerSession from, ServerChannel on, ServerMessage.Mutable message) {
                listener.heard(from, message);
                return true;
            }
        });
    }

    @Service
    public static final class Calls {
        @RemoteCall("echo")
        public void echo(RemoteCall.Caller caller, Object data) {
            caller.result(data);
        }

        @RemoteCall("fail")
        public void fail(RemoteCall.Caller caller, Object data) {
            caller.failure(Map.of("error", "refused"));
        }
    }

    /** Nobody has a part in what is below /secret. */
    private static final class Policy extends DefaultSecurityPolicy {
        @Override
        public boolean canSubscribe(BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !channel.getId().startsWith("/secret/") && super.canSubscribe(server, session, channel, message);
        }

        @Override
        public boolean canPublish(BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !channel.getId().startsWith("/secret/") && super.canPublish(server, session, channel, message);
        }
    }
}
