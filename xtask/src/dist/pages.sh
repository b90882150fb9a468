# The recipes of ci.md, README.md and action.yml, which lie in this directory.

# Runs what a function below prints.
run() {
    "$@" >recipe.sh
    . ./recipe.sh
}

# Prints the lines of the block of ci.md with this info string.
block() {
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/{/^\`\`\`/!p}" ci.md | grep .
}

# Prints the commands of README's blocks marked `console run`, or `console $1`, each with its continuation lines.
readme() {
    awk -v block="${1:-run}" '/^```/ { runs = $0 == "```console " block; next }
        runs && (sub(/^\$ /, "") || continues) { print; continues = /\\$/ }' README.md | grep .
}

# Prints the commands of README's block for daily use.
daily() {
    readme skip=installs
}

# Prints the script in action.yml's step.
action() {
    sed -n '/run: |$/,$ s/^        //p' action.yml | grep .
}

# Prints the commands of the GitLab job.
gitlab() {
    block 'yaml skip=run-by-dist-as-gitlab' | sed -n 's/^    - //p' | grep .
}

# Prints the Docker file as a script, with the user's test at its end.
docker() {
    block 'dockerfile skip=run-by-dist-as-docker' | sed -n 's/^COPY /cp /p; s/^RUN //p
        s/, / /g; s/^ENTRYPOINT \[\(.*\)\]$/\1 .\/run-my-tests/p' | grep .
}
