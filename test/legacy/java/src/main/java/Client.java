// One client of CometD's Java library, with all that went over its wire, and waits that end in a clear text.
//
// Knows: the library's public API. Does not know: what is right.
// Always true: `got` holds only what a server sent (not the failures that the library makes up), as it was before any extension
// or listener saw it; `requests` holds what left together.

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.Collectors;

import jakarta.websocket.WebSocketContainer;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSession;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.cometd.client.ext.AckExtension;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.transport.TransportListener;
import org.cometd.client.websocket.javax.WebSocketTransport;
import org.cometd.common.HashMapMessage;
import org.eclipse.jetty.client.HttpClient;

final class Client {
    /** How long one wait may take, ms. */
    static final long GUARD = 10_000;
    /** First pause after a lost connection, and what each further one adds, ms; the library's 1000 would only cost time. */
    private static final long BACK_OFF = 100;

    final BayeuxClient bayeux;
    private final List<Message> got = new ArrayList<>();
    private final List<List<Message>> requests = new ArrayList<>();
    private int failures;

    Client(HttpClient http, WebSocketContainer sockets, String transport, boolean ack, String url) {
        Map<String, Object> options = new HashMap<>();
        ClientTransport carrier = transport.equals("websocket")
            ? new WebSocketTransport(options, null, sockets)
            : new JettyHttpClientTransport(options, http);
        bayeux = new BayeuxClient(url, carrier);
        bayeux.setOption(BayeuxClient.BACKOFF_INCREMENT_OPTION, BACK_OFF);
        bayeux.addTransportListener(new TransportListener() {
            @Override
            public void onSending(List<? extends Message> messages) {
                record(() -> requests.add(copy(messages)));
            }

            @Override
            public void onMessages(List<Message.Mutable> messages) {
                record(() -> got.addAll(copy(messages)));
            }

            @Override
            public void onFailure(Throwable failure, List<? extends Message> messages) {
                record(() -> failures++);
            }
        });
        if (ack) {
            bayeux.addExtension(new AckExtension());
        }
    }

    private synchronized void record(Runnable change) {
        change.run();
        notifyAll();
    }

    /** The library goes on to change its messages, so they are kept as copies. */
    private static List<Message> copy(List<? extends Message> messages) {
        return messages.stream().map(HashMapMessage::new).collect(Collectors.toList());
    }

    /** Waits until a condition is true; looked at whenever something came or went, and every 50 ms for what has no event. */
    synchronized void until(String what, BooleanSupplier condition) throws InterruptedException {
        long end = System.nanoTime() + GUARD * 1_000_000;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() - end >= 0) {
                throw new IllegalStateException(
                    "waited " + GUARD + " ms in vain for " + what + "; " + bayeux + "; last: " + last());
            }
            wait(50);
        }
    }

    private String last() {
        return got.isEmpty() ? "nothing" : got.get(got.size() - 1).toString();
    }

    /** Waits for the message that a call hands to its callback. */
    Message called(String what, Consumer<ClientSession.MessageListener> start) throws InterruptedException {
        Message[] reply = new Message[1];
        start.accept(message -> record(() -> reply[0] = new HashMapMessage(message)));
        until(what, () -> reply[0] != null);
        return reply[0];
    }

    Message handshake() throws InterruptedException {
        return called("the handshake reply", callback -> bayeux.handshake(callback));
    }

    /** Waits until the connect is under way that the server holds: the second one after a handshake. */
    void held() throws InterruptedException {
        until("a held connect", () -> {
            long connects = 0;
            for (Message message : sent()) {
                connects = message.getChannel().equals(Channel.META_HANDSHAKE) ? 0 : connects + (isConnect(message) ? 1 : 0);
            }
            return connects >= 2;
        });
    }

    private static boolean isConnect(Message message) {
        return message.getChannel().equals(Channel.META_CONNECT);
    }

    Message subscribe(String channel, ClientSessionChannel.MessageListener listener) throws InterruptedException {
        return called("the reply to subscribe " + channel, callback -> bayeux.getChannel(channel).subscribe(listener, callback));
    }

    Message publish(String channel, Object data) throws InterruptedException {
        return called("the reply to publish " + channel, callback -> bayeux.getChannel(channel).publish(data, callback));
    }

    Message call(String target, Object data) throws InterruptedException {
        return called("the answer to the remote call " + target, callback -> bayeux.remoteCall(target, data, callback));
    }

    /** All messages that were sent, in order. */
    synchronized List<Message> sent() {
        return requests.stream().flatMap(List::stream).collect(Collectors.toList());
    }

    synchronized long sent(String channel) {
        return sent().stream().filter(message -> message.getChannel().equals(channel)).count();
    }

    /** The channels of the messages that left together with one on `channel`. */
    synchronized List<String> company(String channel) {
        return requests.stream().filter(request -> request.stream().anyMatch(message -> message.getChannel().equals(channel)))
            .findFirst().orElse(List.of()).stream().map(Message::getChannel).collect(Collectors.toList());
    }

    synchronized List<Message> got(Predicate<Message> which) {
        return got.stream().filter(which).collect(Collectors.toList());
    }

    List<Message> replies(String channel) {
        return got(message -> message.getChannel().equals(channel) && message.getData() == null);
    }

    /** Data of the deliveries on a channel, each as often as it came over the wire. */
    List<Object> delivered(String channel) {
        return got(message -> message.getChannel().equals(channel) && message.getData() != null).stream()
            .map(Message::getData).collect(Collectors.toList());
    }

    synchronized int failures() {
        return failures;
    }
}
