import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/**
 * Verify a document through `luohu verify serve`, with nothing but the JDK (17 or later).
 *
 * <pre>java examples/Verify.java http://127.0.0.1:7300 report.pdf report.pdf.proof request</pre>
 *
 * Status 200 means verified, 422 refused with its reason, anything else that the call was wrong.
 * Accept the nonce in the answer once: the service remembers nothing.
 */
public class Verify {
    public static void main(String[] arguments) throws IOException, InterruptedException {
        var form = new Form();
        form.file("document", Path.of(arguments[1]));
        form.file("proof", Path.of(arguments[2]));
        form.file("request", Path.of(arguments[3]));
        if (arguments.length > 4) {
            // A past time. Without this part the service asks about the present.
            form.text("at_ms", arguments[4]);
        }
        var request = HttpRequest.newBuilder(URI.create(arguments[0] + "/v1/verify"))
                .header("Content-Type", "multipart/form-data; boundary=" + form.boundary)
                .timeout(Duration.ofMinutes(15))
                .POST(form.publisher())
                .build();
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var response = client.send(request, BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.body());
        System.exit(response.statusCode() == 200 ? 0 : 1);
    }

    /** A multipart form whose files are streamed from the disk, however large they are. */
    static final class Form {
        final String boundary = UUID.randomUUID().toString();
        private final List<BodyPublisher> parts = new ArrayList<>();

        void file(String name, Path path) throws IOException {
            head(name, "; filename=\"" + name + "\"\r\nContent-Type: application/octet-stream");
            parts.add(BodyPublishers.ofFile(path));
            parts.add(BodyPublishers.ofString("\r\n"));
        }

        void text(String name, String value) {
            head(name, "");
            parts.add(BodyPublishers.ofString(value + "\r\n"));
        }

        private void head(String name, String more) {
            parts.add(BodyPublishers.ofString(
                    "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n"));
        }

        BodyPublisher publisher() {
            var all = new ArrayList<>(parts);
            all.add(BodyPublishers.ofString("--" + boundary + "--\r\n"));
            return BodyPublishers.concat(all.toArray(BodyPublisher[]::new));
        }
    }
}
