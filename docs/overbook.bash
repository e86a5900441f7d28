# bash completion for overbook(1)
_overbook()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'run report compare explain page trace list doctor calibrate --help --version' -- "$cur")
		return
	fi
	case $prev in
	-m | --machine)
		mapfile -t COMPREPLY < <(compgen -W 'sim kvm' -- "$cur")
		return
		;;
	--policy)
		mapfile -t COMPREPLY < <(compgen -W 'lru clock clock0 fifo random opt none static swap-only proportional esx esx-minfree mom psi refault' -- "$cur")
		return
		;;
	esac
	case $verb in
	run)
		mapfile -t COMPREPLY < <(compgen -W '--output --machine --policy --set --seed --jobs --force --no-figures --quiet' -- "$cur")
		;;
	trace)
		[ "$COMP_CWORD" -eq 2 ] && mapfile -t COMPREPLY < <(compgen -W 'record import info mrc' -- "$cur")
		;;
	list)
		mapfile -t COMPREPLY < <(compgen -W 'counters workloads patterns profiles modes costs figures policies replacement dedup victims estimators compressors devices keys' -- "$cur")
		;;
	compare)
		mapfile -t COMPREPLY < <(compgen -W '--all' -- "$cur")
		;;
	calibrate)
		mapfile -t COMPREPLY < <(compgen -W '--output --quick --no-runs --quiet --predict --set' -- "$cur")
		;;
	doctor)
		mapfile -t COMPREPLY < <(compgen -W '--repair' -- "$cur")
		;;
	explain)
		mapfile -t COMPREPLY < <(compgen -W '--vm --at' -- "$cur")
		;;
	esac
	[[ $cur == -* ]] || mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
}
complete -o filenames -F _overbook overbook
