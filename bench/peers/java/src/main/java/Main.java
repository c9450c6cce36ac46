import java.io.BufferedReader;
import java.io.InputStreamReader;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * CometD on Jetty: its servlet for long-polling and its Jetty transport for WebSocket, both at /cometd.
 *
 * Says {"port":n} when it listens. Each line on stdin is a request, answered with one line; the end of stdin ends it.
 */
public class Main {
    public static void main(String[] args) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setAcceptQueueSize(4096);
        connector.setIdleTimeout(300_000);
        server.addConnector(connector);

        ServletContextHandler context = new ServletContextHandler("/");
        server.setHandler(context);
        context.insertHandler(WebSocketUpgradeHandler.from(server, context));
        ServletHolder cometd = new ServletHolder(new Servlet(context.getContext()));
        cometd.setInitParameter(BayeuxServerImpl.TRANSPORTS_OPTION, JettyWebSocketTransport.class.getName() + "," + JSONHttpTransport.class.getName());
        cometd.setInitParameter("ws.cometdURLMapping", "/cometd");
        cometd.setInitParameter("timeout", "30000");
        cometd.setInitParameter("maxInterval", "60000");
        cometd.setInitOrder(1);
        cometd.setAsyncSupported(true);
        context.addServlet(cometd, "/cometd/*");
        server.start();
        BayeuxServer bayeux = (BayeuxServer)context.getServletContext().getAttribute(BayeuxServer.ATTRIBUTE);
        if (args.length > 0 && args[0].equals("--ack")) bayeux.addExtension(new AcknowledgedMessagesExtension());
        System.out.println("{\"port\":" + connector.getLocalPort() + "}");

        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String request = requests.readLine(); request != null; request = requests.readLine()) {
            if (request.equals("collect")) for (int i = 0; i < 3; i++) System.gc();
            System.out.println("{\"sessions\":" + bayeux.getSessions().size() + "}");
        }
        Runtime.getRuntime().halt(0);
    }

    /** The servlet does not tell the WebSocket transport in which Jetty context it is; this one does. */
    private static class Servlet extends CometDServlet {
        private final transient Context context;

        Servlet(Context context) {
            this.context = context;
        }

        @Override
        protected BayeuxServer newBayeuxServer() {
            BayeuxServer bayeux = super.newBayeuxServer();
            bayeux.setOption(Context.class.getName(), context);
            return bayeux;
        }
    }
}
