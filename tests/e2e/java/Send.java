import io.tus.java.client.ProtocolException;
import io.tus.java.client.TusClient;
import io.tus.java.client.TusExecutor;
import io.tus.java.client.TusURLMemoryStore;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.io.IOException;
import java.net.URL;
import java.util.Arrays;
import java.util.Map;

/**
 * Drives an unmodified tus-java-client for tests/e2e, as its README shows: endpoint, file and most bytes of
 * one request as arguments, one JSON object as the only line of output.
 */
final class Send extends TusExecutor {
    private static final int RETRIES = 100;
    private static final int DELAY = 100; // ms

    private final TusClient client = new TusClient();
    private final TusUpload upload;
    private final int payload;
    private URL url;

    private Send(URL endpoint, File file, int payload) throws IOException {
        upload = new TusUpload(file);
        upload.setMetadata(Map.of("filename", file.getName()));
        this.payload = payload;
        client.setUploadCreationURL(endpoint);
        client.enableResuming(new TusURLMemoryStore());
        int[] delays = new int[RETRIES];
        Arrays.fill(delays, DELAY);
        setDelays(delays);
    }

    @Override
    protected void makeAttempt() throws ProtocolException, IOException {
        TusUploader uploader = client.resumeOrCreateUpload(upload);
        url = uploader.getUploadURL();
        uploader.setRequestPayloadSize(payload);
        uploader.setChunkSize(64 * 1024);
        while (uploader.uploadChunk() > -1) {
            // the client does it all
        }
        uploader.finish();
    }

    public static void main(String[] arguments) throws Exception {
        Send send = new Send(new URL(arguments[0]), new File(arguments[1]), Integer.parseInt(arguments[2]));
        send.makeAttempts();
        System.out.printf("{\"outcome\": \"success\", \"url\": \"%s\"}%n", send.url);
    }
}
