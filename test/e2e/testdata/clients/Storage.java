import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Arrays;

/** Blob calls with java.net.http and no credential: java Storage.java BASE CONTAINER */
class Storage {
    private final HttpClient client = HttpClient.newHttpClient();
    private final String container;

    private Storage(String container) {
        this.container = container;
    }

    private HttpResponse<byte[]> ask(int status, String method, String path, BodyPublisher body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(container + path)).method(method, body).timeout(Duration.ofSeconds(30));
        if (method.equals("PUT") && path.startsWith("/")) {
            request.header("x-ms-blob-type", "BlockBlob");
        }
        var response = client.send(request.build(), BodyHandlers.ofByteArray());
        if (response.statusCode() != status) {
            throw new AssertionError(method + " " + path + ": " + response + " " + new String(response.body()));
        }
        return response;
    }

    public static void main(String[] args) throws Exception {
        var storage = new Storage(args[0] + "/" + args[1]);
        var content = new byte[300_000];
        Arrays.fill(content, (byte) 'j');
        storage.ask(201, "PUT", "?restype=container", BodyPublishers.noBody());
        storage.ask(201, "PUT", "/blob.bin", BodyPublishers.ofByteArray(content));
        var response = storage.ask(200, "GET", "/blob.bin", BodyPublishers.noBody());
        if (!Arrays.equals(content, response.body())) {
            throw new AssertionError("the blob came back changed");
        }
        var listed = storage.ask(200, "GET", "?restype=container&comp=list", BodyPublishers.noBody());
        if (!new String(listed.body()).contains("<Name>blob.bin</Name>")) {
            throw new AssertionError("not listed: " + new String(listed.body()));
        }
        storage.ask(202, "DELETE", "/blob.bin", BodyPublishers.noBody());
        storage.ask(404, "GET", "/blob.bin", BodyPublishers.noBody());
        // What an intercepted connection speaks is part of what is shown.
        System.out.println(response.version());
        System.out.println("ok");
    }
}
