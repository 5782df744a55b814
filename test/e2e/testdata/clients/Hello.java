import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** One GET, which has to give "hello": java Hello.java URL */
class Hello {
    public static void main(String[] args) throws Exception {
        var body = HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(args[0])).build(), BodyHandlers.ofString()).body();
        System.out.println(body.equals("hello") ? "ok" : body);
    }
}
