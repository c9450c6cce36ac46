// Listens as the programs do that get their events from Salesforce with CometD's Java client, in the way of EMP-Connector.
//
// Usage: java -cp driver.jar Listeners
// Is led by JSON lines on stdin: {"name":"a","open":url,"transport":"websocket"}, {"name":"a","listen":channel,"from":position}, {"name":"a","close":true};
// the end of stdin ends it. Says in JSON lines what the application of a listener sees: {"name":"a","opened":true}, {"name":"a","listening":channel},
// {"name":"a","refused":error}, {"name":"a","heard":data}, {"name":"a","closed":true}.
// Always true: in each new session it listens again to all that it did, wherever it had come to.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSession;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.websocket.javax.WebSocketTransport;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.util.ajax.JSON;

public final class Listeners {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    /** Knows of each channel how far its application has come, and says all of it with each subscribe, whatever that is for. */
    private static final class Positions implements ClientSession.Extension {
        final Map<String, Long> positions = new ConcurrentHashMap<>();
        private volatile boolean kept;

        @Override
        public boolean sendMeta(ClientSession session, Message.Mutable message) {
            if (message.getChannel().equals(Channel.META_HANDSHAKE)) {
                message.getExt(true).put("replay", true);
            } else if (message.getChannel().equals(Channel.META_SUBSCRIBE) && kept) {
                message.getExt(true).put("replay", new HashMap<>(positions));
            }
            return true;
        }

        @Override
        public boolean rcvMeta(ClientSession session, Message.Mutable message) {
            if (message.getChannel().equals(Channel.META_HANDSHAKE)) {
                kept = message.getExt() != null && Boolean.TRUE.equals(message.getExt().get("replay"));
            }
            return true;
        }

        @Override
        public boolean rcv(ClientSession session, Message.Mutable message) {
            Object event = message.getData() instanceof Map ? message.getDataAsMap().get("event") : null;
            if (event instanceof Map) {
                positions.put(message.getChannel(), (Long)((Map<?, ?>)event).get("replayId")); // throws when it is no whole number
            }
            return true;
        }
    }

    private final String name;
    private final BayeuxClient bayeux;
    private final Positions positions = new Positions();
    private final Set<String> channels = ConcurrentHashMap.newKeySet();

    private Listeners(String name, String url, ClientTransport transport) {
        this.name = name;
        bayeux = new BayeuxClient(url, transport);
        bayeux.setOption(BayeuxClient.BACKOFF_INCREMENT_OPTION, 100L);
        bayeux.setOption(BayeuxClient.MAX_BACKOFF_OPTION, 500L);
        bayeux.addExtension(positions);
        bayeux.getChannel(Channel.META_HANDSHAKE).addListener((ClientSessionChannel.MessageListener)(channel, message) -> {
            if (message.isSuccessful()) {
                channels.forEach(this::subscribe);
                say("opened", true);
            }
        });
        bayeux.handshake();
    }

    private void listen(String channel, long from) {
        positions.positions.put(channel, from);
        channels.add(channel);
        subscribe(channel);
    }

    private void subscribe(String channel) {
        bayeux.getChannel(channel).subscribe((source, message) -> say("heard", message.getData()), reply -> {
            if (reply.isSuccessful()) {
                say("listening", channel);
            } else if (reply.containsKey("error")) { // it was the server that refused it, not the line that broke
                channels.remove(channel);
                say("refused", reply.get("error"));
            }
        });
    }

    private void say(String what, Object value) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("name", name);
        line.put(what, value);
        OUT.println(new JSON().toJSON(line));
    }

    public static void main(String[] args) throws Exception {
        HttpClient http = new HttpClient();
        http.start();
        WebSocketContainer sockets = ContainerProvider.getWebSocketContainer();
        Map<String, Listeners> all = new HashMap<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<?, ?> wish = (Map<?, ?>)new JSON().fromJSON(line);
            String name = (String)wish.get("name");
            if (wish.containsKey("open")) {
                Map<String, Object> options = new HashMap<>();
                ClientTransport transport = "websocket".equals(wish.get("transport"))
                    ? new WebSocketTransport(options, null, sockets) : new JettyHttpClientTransport(options, http);
                all.put(name, new Listeners(name, (String)wish.get("open"), transport));
            } else if (wish.containsKey("listen")) {
                all.get(name).listen((String)wish.get("listen"), (Long)wish.get("from"));
            } else {
                Listeners listener = all.get(name);
                listener.bayeux.disconnect(reply -> listener.say("closed", true));
            }
        }
        System.exit(0); // the thread pools of the two containers are no daemons
    }
}
