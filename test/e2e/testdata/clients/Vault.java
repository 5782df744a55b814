import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/** Key Vault calls with java.net.http and no credential: java Vault.java BASE NAME */
class Vault {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    private static String ask(int status, String method, String url, BodyPublisher body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url + "?api-version=7.4")).method(method, body)
            .header("Content-Type", "application/json").timeout(Duration.ofSeconds(30)).build();
        var response = CLIENT.send(request, BodyHandlers.ofString());
        if (response.statusCode() != status) {
            throw new AssertionError(method + " " + url + ": " + response + " " + response.body());
        }
        return response.body();
    }

    public static void main(String[] args) throws Exception {
        var secret = args[0] + "/secrets/" + args[1];
        ask(200, "PUT", secret, BodyPublishers.ofString("{\"value\":\"written by Java\"}"));
        var got = ask(200, "GET", secret, BodyPublishers.noBody());
        if (!got.contains("\"value\":\"written by Java\"")) {
            throw new AssertionError("the secret came back changed: " + got);
        }
        ask(200, "DELETE", secret, BodyPublishers.noBody());
        ask(404, "GET", secret, BodyPublishers.noBody());
        System.out.println("ok");
    }
}
