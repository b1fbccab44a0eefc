import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** Serves MongoDB's wire protocol from memory, and prints its port. With an argument it says to be so old a server. */
public class Main {
    public static void main(String[] arguments) {
        int wire = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 13;
        MemoryBackend backend = new MemoryBackend();
        backend.version(new MongoVersion() {
            public List<Integer> getVersionArray() {
                return wire >= 13 ? List.of(5, 0, 0, 0) : List.of(4, 2, 0, 0);
            }

            public int getWireVersion() {
                return wire;
            }
        });
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", 0);
        System.out.println("port " + server.getLocalAddress().getPort());
    }
}
