//! Commit and branch of the repository a build was made from, as the `git` command tells.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Variables that would lead `git` to another repository than that of the folder asked about, or hand it other settings.
const LEADING_ELSEWHERE: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_IMPLICIT_WORK_TREE",
];

/// How `git` ends when it was asked quietly for a name that is not there.
const NO_SUCH_NAME: i32 = 1;

/// What a repository says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The short name of the commit that is checked out.
    pub commit: Result<String, Unknown>,
    /// The branch that is checked out, without `refs/heads/`.
    pub branch: Result<String, Unknown>,
}

/// Why a commit or a branch is not known. Each reads as a warning's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no `git` command.
    #[error("there is no `git` to ask about {}", .0.display())]
    NoGit(PathBuf),
    /// The folder lies in no repository.
    #[error("{} is in no git repository", .0.display())]
    NoRepository(PathBuf),
    /// Nothing was committed yet.
    #[error("the git repository of {} has no commit yet", .0.display())]
    NoCommit(PathBuf),
    /// A commit is checked out and no branch.
    #[error("the git repository of {} is on no branch (detached HEAD)", .0.display())]
    Detached(PathBuf),
    /// Anything else, in the words of `git`.
    #[error("git failed for {}: {words}", .folder.display())]
    Failed {
        /// The folder that was asked about.
        folder: PathBuf,
        /// What `git` said.
        words: String,
    },
}

/// Asks about the repository that holds `folder`. The owner of the folder does not matter: a build often runs as another user.
pub fn repository(folder: &Path) -> Repository {
    Repository { commit: commit(folder), branch: branch(folder) }
}

fn commit(folder: &Path) -> Result<String, Unknown> {
    ask(folder, &["rev-parse", "--quiet", "--verify", "--short", "HEAD"], Unknown::NoCommit)
}

fn branch(folder: &Path) -> Result<String, Unknown> {
    // Not shortened by git, which writes `heads/NAME` where a tag has the same name.
    let name = ask(folder, &["symbolic-ref", "--quiet", "HEAD"], Unknown::Detached)?;
    Ok(name.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(name))
}

fn ask(folder: &Path, question: &[&str], no_such_name: fn(PathBuf) -> Unknown) -> Result<String, Unknown> {
    let mut git = Command::new("git");
    for variable in LEADING_ELSEWHERE {
        git.env_remove(variable);
    }
    // Only settings from outside the repository may name safe folders, and these do not touch the user's files.
    git.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    git.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    git.arg("-C").arg(folder).args(question).stdin(Stdio::null());
    let folder = folder.to_path_buf();
    match git.output() {
        Ok(output) => read(output, folder, no_such_name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Unknown::NoGit(folder)),
        Err(error) => Err(Unknown::Failed { folder, words: error.to_string() }),
    }
}

fn read(output: Output, folder: PathBuf, no_such_name: fn(PathBuf) -> Unknown) -> Result<String, Unknown> {
    let Output { status, stdout, stderr } = output;
    let answer = String::from_utf8_lossy(&stdout).trim().to_owned();
    if status.success() && !answer.is_empty() {
        return Ok(answer);
    }
    let words = String::from_utf8_lossy(&stderr).trim().to_owned();
    // "not a git repository: PATH" is another case: a worktree whose repository is gone.
    if words.contains("not a git repository (or any") {
        return Err(Unknown::NoRepository(folder));
    }
    if words.is_empty() && status.code() == Some(NO_SUCH_NAME) {
        return Err(no_such_name(folder));
    }
    let words = if words.is_empty() { status.to_string() } else { words };
    Err(Unknown::Failed { folder, words })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let mut git = Command::new("git");
        for variable in LEADING_ELSEWHERE {
            git.env_remove(variable);
        }
        let names = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"];
        let output = git.arg("-C").arg(folder).args(names).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("repository");
        fs::create_dir(&folder).unwrap();
        git(&folder, &["init", "--quiet", "--initial-branch=main"]);
        (root, folder)
    }

    fn committed() -> (tempfile::TempDir, PathBuf) {
        let (root, folder) = fresh();
        git(&folder, &["commit", "--quiet", "--allow-empty", "--message=one"]);
        (root, folder)
    }

    #[test]
    fn commit_and_branch_of_a_folder_below() {
        let (_root, folder) = committed();
        let build = folder.join("build");
        fs::create_dir(&build).unwrap();
        git(&folder, &["tag", "main"]);
        let Repository { commit, branch } = repository(&build);
        let commit = commit.unwrap();
        assert!(commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
        assert_eq!(branch.as_deref(), Ok("main"));
        git(&folder, &["checkout", "--quiet", "-b", "feature/log_in"]);
        assert_eq!(repository(&build).branch.as_deref(), Ok("feature/log_in"));
    }

    #[test]
    fn a_detached_head_has_a_commit_only() {
        let (_root, folder) = committed();
        git(&folder, &["checkout", "--quiet", "--detach"]);
        let found = repository(&folder);
        assert!(found.commit.is_ok());
        assert_eq!(found.branch, Err(Unknown::Detached(folder)));
    }

    #[test]
    fn without_a_commit_there_is_a_branch_only() {
        let (_root, folder) = fresh();
        let found = repository(&folder);
        assert_eq!(found.commit, Err(Unknown::NoCommit(folder)));
        assert_eq!(found.branch.as_deref(), Ok("main"));
    }

    #[test]
    fn no_repository_is_no_failure_of_git() {
        let root = tempfile::tempdir().unwrap();
        let found = repository(root.path());
        assert_eq!(found.commit, Err(Unknown::NoRepository(root.path().to_owned())));
        assert_eq!(found.branch, Err(Unknown::NoRepository(root.path().to_owned())));
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_git() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let text = repository(&missing).commit.unwrap_err().to_string();
        assert!(text.contains("missing") && text.contains("No such file"), "{text}");
        fs::write(root.path().join(".git"), "gitdir: /nowhere/at/all\n").unwrap();
        let text = repository(root.path()).commit.unwrap_err().to_string();
        assert!(text.contains("/nowhere/at/all"), "{text}");
    }

    #[test]
    fn worktrees_and_submodules_have_a_head_of_their_own() {
        let (root, folder) = committed();
        let worktree = root.path().join("worktree");
        git(&folder, &["worktree", "add", "--quiet", "-b", "side", worktree.to_str().unwrap()]);
        assert_eq!(repository(&worktree).branch.as_deref(), Ok("side"));
        let outer = root.path().join("outer");
        fs::create_dir(&outer).unwrap();
        git(&outer, &["init", "--quiet", "--initial-branch=outer"]);
        git(&outer, &["submodule", "--quiet", "add", folder.to_str().unwrap(), "layer"]);
        let found = repository(&outer.join("layer"));
        assert_eq!(found.branch.as_deref(), Ok("main"));
        assert_eq!(found.commit, repository(&folder).commit);
    }

    /// Run in a process of its own, for the environment belongs to the whole process.
    #[test]
    #[ignore = "started by the test below"]
    fn asked_by_another() {
        let folder = PathBuf::from(std::env::var_os("ASKED_ABOUT").unwrap());
        assert_eq!(repository(&folder).branch.as_deref(), Ok("main"));
    }

    #[test]
    fn the_callers_own_repository_is_not_asked() {
        let (_root, folder) = committed();
        let (_other_root, other) = committed();
        git(&other, &["checkout", "--quiet", "-b", "other"]);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "git::tests::asked_by_another", "--ignored"])
            .env("ASKED_ABOUT", &folder)
            .env("GIT_DIR", other.join(".git"))
            .env("GIT_WORK_TREE", &other)
            .env("LC_ALL", "de_DE.UTF-8")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[cfg(unix)]
    fn a_repository_of_another_user_is_asked() {
        let (_root, folder) = committed();
        // Only root can give a folder away.
        if std::os::unix::fs::chown(&folder, Some(12345), Some(12345)).is_ok() {
            std::os::unix::fs::chown(folder.join(".git"), Some(12345), Some(12345)).unwrap();
            assert!(repository(&folder).commit.is_ok());
        }
    }
}
