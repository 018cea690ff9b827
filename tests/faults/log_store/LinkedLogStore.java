package promo_spark;

import io.delta.storage.LocalLogStore;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;

/**
 * Commits that appear whole or not at all, and never over another, also between processes: what HDFS, Azure and newer S3 do.
 * Delta's own log store for local disks promises that within one process only.
 */
public class LinkedLogStore extends LocalLogStore {
  public LinkedLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(
      org.apache.hadoop.fs.Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    if (overwrite) {
      super.write(path, actions, true, configuration);
      return;
    }
    Path target = Paths.get(path.toUri().getPath());
    Path unfinished = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    StringBuilder text = new StringBuilder();
    actions.forEachRemaining(action -> text.append(action).append('\n'));
    Files.write(unfinished, text.toString().getBytes(StandardCharsets.UTF_8));
    try {
      Files.createLink(target, unfinished); // fails where the target exists
    } finally {
      Files.delete(unfinished);
    }
  }
}
