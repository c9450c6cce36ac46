// Drives CometD's Java client through a whole life, once for each transport, without and with the ack extension.
//
// Usage: java -jar driver.jar <url> <the same through the test's proxy>
// Writes one JSON line for each step: {"run":"websocket ack","step":"publish","seen":{…}}, or "failed" in place of "seen", which
// ends that run. A line {"run":…,"cut":"idle"|"half"|"whole"} asks the test to cut the connections through its proxy.
// Does not know: what is right; it reports what it saw, and java.test.ts judges.

import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.util.ajax.JSON;

public final class Driver {
    private static final int ORDERED = 50;
    private static final int UNDER_FIRE = 200;
    /** Long enough for a client that wrongly comes back to do so several times, ms. */
    private static final long QUIET = 1_000;
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    @FunctionalInterface
    private interface Step {
        Map<String, Object> run() throws Exception;
    }

    private final HttpClient http;
    private final WebSocketContainer sockets;
    private final String transport;
    private final boolean ack;
    private final String run;
    private final String prefix;
    private final String url;
    /** Its connections can be cut. */
    private final Client client;
    /** The other side: goes to the server directly, so that nothing it publishes is lost on the way. */
    private final Client second;

    private Driver(HttpClient http, WebSocketContainer sockets, String transport, boolean ack, String url, String proxied) {
        this.http = http;
        this.sockets = sockets;
        this.transport = transport;
        this.ack = ack;
        this.url = url;
        run = transport + (ack ? " ack" : " plain");
        prefix = "/java/" + transport + (ack ? "-ack" : "-plain");
        client = new Client(http, sockets, transport, ack, proxied);
        second = new Client(http, sockets, transport, ack, url);
    }

    public static void main(String[] args) throws Exception {
        HttpClient http = new HttpClient();
        http.start();
        WebSocketContainer sockets = ContainerProvider.getWebSocketContainer();
        for (String transport : List.of("long-polling", "websocket")) {
            for (boolean ack : new boolean[]{false, true}) {
                new Driver(http, sockets, transport, ack, args[0], args[1]).life();
            }
        }
        System.exit(0); // the thread pools of the two containers are no daemons
    }

    private void life() {
        boolean whole = step("handshake", this::handshake)
            && step("connect", this::connect)
            && step("subscribe", this::subscribe)
            && step("publish", this::publish)
            && step("wildcards", this::wildcards)
            && step("order", this::order)
            && step("unsubscribe", this::unsubscribe)
            && step("batch", this::batch)
            && step("calls", this::calls)
            && step("service", this::service)
            && (ack ? step("fire", this::fire) : step("resume", this::resume))
            && step("loss", this::loss)
            && step("kick", this::kick)
            && step("disconnect", this::disconnect);
        if (!whole) {
            client.bayeux.abort();
            second.bayeux.abort();
        }
    }

    private boolean step(String name, Step step) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("run", run);
        line.put("step", name);
        try {
            line.put("seen", step.run());
        } catch (Throwable failure) {
            StringWriter trace = new StringWriter();
            failure.printStackTrace(new PrintWriter(trace));
            line.put("failed", trace.toString());
        }
        OUT.println(new JSON().toJSON(line));
        return line.containsKey("seen");
    }

    private void cut(String how) {
        OUT.println(new JSON().toJSON(seen("run", run, "cut", how)));
    }

    private static Map<String, Object> seen(Object... members) {
        Map<String, Object> seen = new LinkedHashMap<>();
        for (int i = 0; i < members.length; i += 2) {
            seen.put((String)members[i], members[i + 1]);
        }
        return seen;
    }

    /** The members that say something, without those that differ in each run. */
    private static Map<String, Object> pick(Message message) {
        Map<String, Object> picked = new LinkedHashMap<>();
        for (String name : List.of("channel", "successful", "error", "data", "subscription", "advice")) {
            if (message.containsKey(name)) {
                picked.put(name, message.get(name));
            }
        }
        return picked;
    }

    private Map<String, Object> handshake() throws Exception {
        Message reply = client.handshake();
        second.handshake();
        Map<String, Object> ext = reply.getExt();
        return seen("successful", reply.isSuccessful(), "version", reply.get("version"),
            "clientId", reply.getClientId().matches("[A-Za-z0-9]{20,}"),
            "offersTransport", offers(reply.get("supportedConnectionTypes")), "advice", reply.getAdvice(),
            "ack", ext == null ? null : ext.get("ack"), "transport", client.bayeux.getTransport().getName());
    }

    private boolean offers(Object types) {
        return types instanceof List ? ((List<?>)types).contains(transport) : List.of((Object[])types).contains(transport);
    }

    private Map<String, Object> connect() throws Exception {
        client.held();
        second.held();
        return seen("reply", pick(client.replies(Channel.META_CONNECT).get(0)), "state", client.bayeux.isConnected());
    }

    private Map<String, Object> subscribe() throws Exception {
        return seen("reply", pick(client.subscribe(prefix + "/chat", (channel, message) -> {})));
    }

    private Map<String, Object> publish() throws Exception {
        String chat = prefix + "/chat";
        Message reply = client.publish(chat, Map.of("text", "grüße"));
        client.until("its own message", () -> !client.delivered(chat).isEmpty());
        List<String> order = client.got(message -> message.getChannel().equals(chat)).stream()
            .map(message -> message.getData() == null ? "reply" : "message").collect(Collectors.toList());
        if (ack) {
            order.sort(null); // they come over different connections then
        }
        return seen("reply", pick(reply), "recognized", reply.isPublishReply(),
            "delivered", client.delivered(chat), "order", order);
    }

    private Map<String, Object> wildcards() throws Exception {
        Map<String, List<String>> heard = new LinkedHashMap<>();
        List<Object> replies = new ArrayList<>();
        for (String pattern : List.of("/room/one", "/room/*", "/room/**")) {
            List<String> channels = new CopyOnWriteArrayList<>();
            heard.put(pattern, channels);
            replies.add(pick(client.subscribe(prefix + pattern,
                (channel, message) -> channels.add(message.getChannel().substring(prefix.length())))));
        }
        for (String channel : List.of("/room", "/room/one", "/room/one/more", "/room/end")) {
            second.publish(prefix + channel, channel);
        }
        String end = "/room/end";
        client.until("the last message", () -> heard.get("/room/*").contains(end) && heard.get("/room/**").contains(end));
        List<Object> wire = client.got(message -> message.getChannel().startsWith(prefix + "/room")).stream()
            .map(Message::getData).collect(Collectors.toList());
        return seen("replies", replies, "heard", heard, "wire", wire);
    }

    private Map<String, Object> order() throws Exception {
        String channel = prefix + "/order";
        List<Object> heard = new CopyOnWriteArrayList<>();
        client.subscribe(channel, (source, message) -> heard.add(message.getData()));
        int accepted = 0;
        for (int i = 0; i < ORDERED; i++) {
            accepted += second.publish(channel, i).isSuccessful() ? 1 : 0;
        }
        client.until(ORDERED + " messages", () -> heard.contains((long)ORDERED - 1));
        return seen("accepted", accepted, "delivered", client.delivered(channel), "heard", heard);
    }

    private Map<String, Object> unsubscribe() throws Exception {
        String left = prefix + "/left";
        String kept = prefix + "/kept";
        ClientSessionChannel.MessageListener listener = (channel, message) -> {};
        client.subscribe(left, listener);
        client.subscribe(kept, listener);
        second.publish(left, "before");
        client.until("the message before", () -> !client.delivered(left).isEmpty());
        Message reply = client.called("the reply to unsubscribe",
            callback -> client.bayeux.getChannel(left).unsubscribe(listener, callback));
        second.publish(left, "after");
        second.publish(kept, "end");
        client.until("the message that ends the step", () -> !client.delivered(kept).isEmpty());
        return seen("reply", pick(reply), "left", client.delivered(left), "kept", client.delivered(kept));
    }

    private Map<String, Object> batch() throws Exception {
        String channel = prefix + "/batch";
        List<Object> replies = new CopyOnWriteArrayList<>();
        client.bayeux.batch(() -> {
            client.bayeux.getChannel(channel).subscribe((source, message) -> {}, reply -> replies.add(pick(reply)));
            client.bayeux.getChannel(channel).publish("one", reply -> replies.add(pick(reply)));
            client.bayeux.getChannel(channel).publish("two", reply -> replies.add(pick(reply)));
        });
        client.until("three replies and two messages", () -> replies.size() == 3 && client.delivered(channel).size() == 2);
        return seen("together", client.company(channel), "replies", replies, "delivered", client.delivered(channel));
    }

    private Map<String, Object> calls() throws Exception {
        Map<String, Object> question = Map.of("q", List.of(1, "two", true));
        return seen("echo", pick(client.call("echo", question)), "fail", pick(client.call("fail", question)));
    }

    private Map<String, Object> service() throws Exception {
        Message reply = client.publish("/service/publish", Map.of("channel", prefix + "/chat", "data", "from the server"));
        client.until("what the server published", () -> client.delivered(prefix + "/chat").contains("from the server"));
        return seen("reply", pick(reply));
    }

    /** A drop while nothing moves; what is published while the client is away must wait for it. */
    private Map<String, Object> resume() throws Exception {
        String channel = prefix + "/resume";
        client.subscribe(channel, (source, message) -> {});
        client.held();
        String id = client.bayeux.getId();
        int failures = client.failures();
        cut("idle");
        client.until("the drop", () -> client.failures() > failures);
        for (int i = 0; i < 3; i++) {
            second.publish(channel, i);
        }
        client.until("the messages from meanwhile", () -> client.delivered(channel).contains(2L));
        return seen("delivered", client.delivered(channel), "sameSession", id.equals(client.bayeux.getId()),
            "handshakes", client.sent(Channel.META_HANDSHAKE));
    }

    /** Two drops in the middle of traffic: a response cut in two, and one that came whole but whose acknowledgement did not. */
    private Map<String, Object> fire() throws Exception {
        String channel = prefix + "/fire";
        List<Object> heard = new CopyOnWriteArrayList<>();
        client.subscribe(channel, (source, message) -> heard.add(message.getData()));
        String id = client.bayeux.getId();
        int failures = client.failures();
        for (int i = 0; i < UNDER_FIRE; i++) {
            if (i == UNDER_FIRE / 4) {
                cut("half");
            } else if (i == UNDER_FIRE / 2) {
                client.until("the first drop and the way back",
                    () -> client.failures() > failures && client.bayeux.isConnected());
                cut("whole");
            }
            second.publish(channel, i);
            Thread.sleep(3); // so that the traffic outlasts the drops
        }
        client.until(UNDER_FIRE + " messages", () -> heard.contains((long)UNDER_FIRE - 1));
        // What came twice would come before this one.
        second.publish(channel, "end");
        client.until("the message that ends the step", () -> heard.contains("end"));
        return seen("heard", heard, "sameSession", id.equals(client.bayeux.getId()),
            "handshakes", client.sent(Channel.META_HANDSHAKE));
    }

    /** As CometD's manual has it: applications subscribe in a handshake listener, for the first session and all later ones. */
    private Map<String, Object> loss() throws Exception {
        String channel = prefix + "/again";
        List<Object> subscribed = new CopyOnWriteArrayList<>();
        client.bayeux.getChannel(Channel.META_HANDSHAKE).addListener((ClientSessionChannel.MessageListener)(source, message) -> {
            if (message.isSuccessful()) {
                client.bayeux.getChannel(channel).subscribe((same, delivery) -> {}, reply -> subscribed.add(pick(reply)));
            }
        });
        String id = client.bayeux.getId();
        client.bayeux.getChannel("/service/forget").publish(Map.of());
        client.until("a new session, subscribed again", () -> !subscribed.isEmpty());
        client.held();
        List<Object> refused = client.replies(Channel.META_CONNECT).stream().filter(message -> !message.isSuccessful())
            .map(Driver::pick).collect(Collectors.toList());
        second.publish(channel, "back");
        client.until("traffic on the new session", () -> !client.delivered(channel).isEmpty());
        return seen("refused", refused, "newSession", !id.equals(client.bayeux.getId()),
            "handshakes", client.sent(Channel.META_HANDSHAKE), "subscribed", subscribed, "delivered", client.delivered(channel));
    }

    private Map<String, Object> kick() throws Exception {
        Client kicked = new Client(http, sockets, transport, ack, url);
        kicked.handshake();
        kicked.held();
        long handshakes = kicked.sent(Channel.META_HANDSHAKE);
        kicked.bayeux.getChannel("/service/kick").publish(Map.of());
        kicked.until("the end of the session", kicked.bayeux::isDisconnected);
        long connects = kicked.sent(Channel.META_CONNECT);
        Thread.sleep(QUIET);
        List<Message> notices = kicked.replies(Channel.META_DISCONNECT);
        return seen("notices", notices.stream().map(Driver::pick).collect(Collectors.toList()),
            "anyId", notices.stream().anyMatch(notice -> notice.getId() != null),
            "disconnected", kicked.bayeux.isDisconnected(),
            "handshakesAfter", kicked.sent(Channel.META_HANDSHAKE) - handshakes,
            "connectsAfter", kicked.sent(Channel.META_CONNECT) - connects);
    }

    private Map<String, Object> disconnect() throws Exception {
        client.held();
        Message reply = client.called("the disconnect reply", callback -> client.bayeux.disconnect(callback));
        boolean ended = client.bayeux.waitFor(Client.GUARD, BayeuxClient.State.DISCONNECTED);
        client.until("the end of the held connect", () -> client.got(Driver::stops).size() == 1);
        second.called("the disconnect reply", callback -> second.bayeux.disconnect(callback));
        return seen("reply", pick(reply), "ended", ended, "connect", pick(client.got(Driver::stops).get(0)));
    }

    private static boolean stops(Message message) {
        return message.getChannel().equals(Channel.META_CONNECT) && message.getAdvice() != null
            && "none".equals(message.getAdvice().get("reconnect"));
    }
}
