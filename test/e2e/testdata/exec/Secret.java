import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Pattern;

/** Prints a secret: java Secret.java URL. It knows of no proxy and no credential. */
class Secret {
    public static void main(String[] args) throws Exception {
        var body = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(args[0])).build(), BodyHandlers.ofString()).body();
        var value = Pattern.compile("\"value\":\"([^\"]*)\"").matcher(body);
        System.out.println(value.find() ? value.group(1) : body);
    }
}
