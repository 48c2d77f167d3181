/**
 * What a shell runs to complete our commands. It asks `layerfs completion SHELL -- WORDS…`: the first line says which paths to offer beside
 * the words (files, folders or none), each further line is a word, a tab and its description. So there is one place that knows
 * what fits where, and a script that is loaded once does not grow old.
 */
export const SCRIPTS = {
  // Bash takes : and = as the end of a word, so what is before the last one is cut off again. Names are quoted: an image's
  // or a mountpoint's may hold what bash would run.
  bash: `# bash completion of layerfs: layerfs completion bash > /etc/bash_completion.d/layerfs
_layerfs() {
  local line=\${COMP_LINE:0:COMP_POINT} paths word description cut=
  local -a words
  read -r -a words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  local current=\${words[-1]}
  [[ $current == *[:=]* ]] && cut=\${current%"\${current##*[:=]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r word description; do
    if [[ -z $paths ]]; then
      paths=$word
      continue
    fi
    printf -v word %q "$word"
    COMPREPLY+=("\${word#"$cut"}")
  done < <("\${words[0]}" completion bash -- "\${words[@]:1}" 2>/dev/null)
  ((\${#COMPREPLY[@]} > 0)) && return
  case $paths in
    files) compopt -o default 2>/dev/null ;;
    folders) compopt -o dirnames 2>/dev/null ;;
  esac
}
complete -F _layerfs layerfs
`,
  zsh: `#compdef layerfs
# zsh completion of layerfs: layerfs completion zsh > _layerfs, in a folder of $fpath
_layerfs() {
  local -a lines found shown
  local line
  lines=("\${(@f)$("\${(Q)words[1]}" completion zsh -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}")
  for line in "\${(@)lines[2,-1]}"; do
    found+=("\${line%%$'\\t'*}")
    shown+=("\${line%%$'\\t'*}  \${line#*$'\\t'}")
  done
  ((\${#found})) && compadd -l -d shown -a found
  compset -P '--*='
  case \${lines[1]} in
    files) _files ;;
    folders) _files -/ ;;
  esac
}
if [[ \${funcstack[1]} == _layerfs ]]; then
  _layerfs "$@"
else
  compdef _layerfs layerfs
fi
`,
  fish: `# fish completion of layerfs: layerfs completion fish > ~/.config/fish/completions/layerfs.fish
function __layerfs_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] completion fish -- $words[2..] $current 2>/dev/null)
    set -q lines[2]; and printf '%s\\n' $lines[2..]
    switch "$lines[1]"
        case files
            __fish_complete_path $current
        case folders
            __fish_complete_directories $current
    end
end
complete -c layerfs -f -a '(__layerfs_complete)'
`,
} as const;

export type Shell = keyof typeof SCRIPTS;
