import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** One GET by both of Java's clients, and their answers: java Get.java URL */
class Get {
    public static void main(String[] args) throws Exception {
        var url = URI.create(args[0]);
        try (var stream = url.toURL().openConnection().getInputStream()) {
            System.out.println(new String(stream.readAllBytes()));
        }
        System.out.println(HttpClient.newHttpClient().send(HttpRequest.newBuilder(url).build(), BodyHandlers.ofString()).body());
    }
}
